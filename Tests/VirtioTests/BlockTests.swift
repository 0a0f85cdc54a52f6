import Interconnect
import Registers
import Simulation
import Testing
import Virtio

/// Virtio 1.2 section 5.2, block device, with the memory backend.
@Suite("5.2 Block device")
struct BlockTests {
    private static let read: UInt32 = 0, write: UInt32 = 1, flush: UInt32 = 4, getID: UInt32 = 8, discard: UInt32 = 11
    private static let writeZeroes: UInt32 = 13
    private static let ok: UInt8 = 0, ioError: UInt8 = 1, unsupported: UInt8 = 2

    private func fixture(
        sectors: UInt64 = 2048, isReadOnly: Bool = false, observer: (any DataPathObserver)? = nil,
        _ change: (inout BlockConfiguration) -> Void = { _ in }
    ) throws -> BlockFixture {
        var configuration = BlockConfiguration()
        configuration.serial = "OUTRIGGER-0001"
        change(&configuration)
        return BlockFixture(
            configuration, backend: try MemoryBackend(byteCount: sectors * 512, isReadOnly: isReadOnly), observer: observer)
    }

    @Test("5.2.6: what is written can be read, direct and indirect, in one piece and in many")
    func data() throws {
        let fixture = try fixture()
        fixture.bringUp()
        var random = SplitMix64(seed: 5)
        for (round, pieces) in [1, 2, 8, 16].enumerated() {
            let bytes = (0..<8192).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let sector = UInt64(round * 16)
            fixture.memory[fixture.data(0), 8192] = bytes
            let written = try #require(
                fixture.perform(type: Self.write, sector: sector, bytes: 8192, pieces: pieces, isIndirect: round % 2 == 1))
            #expect(written.status == Self.ok && written.written == 1)
            fixture.memory[fixture.data(1), 8192] = [UInt8](repeating: 0xee, count: 8192)
            let result = try #require(
                fixture.perform(type: Self.read, sector: sector, bytes: 8192, tag: 1, pieces: 17 - pieces > 8 ? 4 : 1, isIndirect: true))
            #expect(result.status == Self.ok && result.written == 8193)
            let isEqual = fixture.memory[fixture.data(1), 8192] == bytes
            #expect(isEqual, "\(pieces) pieces")
        }
        let counters = fixture.block.state.counters
        #expect(counters.ok == 8 && counters.ioErrors == 0 && counters.unsupported == 0)
        #expect(counters.bytesRead == 4 * 8192 && counters.bytesWritten == 4 * 8192)
    }

    @Test("2.7.4.1: the device makes no assumption on framing")
    func framing() throws {
        let fixture = try fixture()
        fixture.bringUp()
        let base = fixture.buffer(0)
        let payload = (0..<512).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        // Type, reserved and sector in three buffers; data in two, the first together with the end of the header.
        fixture.memory.store(Self.write, at: base)
        fixture.memory.store(UInt32(0), at: base + 0x100)
        fixture.memory.store(UInt64(9), at: base + 0x200)
        fixture.memory[base + 0x208, 512] = payload
        var segments = [(base, 4), (base + 0x100, 4), (base + 0x200, 8 + 100), (base + 0x208 + 100, 412)].map {
            Segment(address: $0.0, length: $0.1, isWritable: false)
        }
        segments.append(Segment(address: base + 0x800, length: 1, isWritable: true))
        _ = fixture.drivers[0].submit(segments)
        fixture.notify()
        fixture.run()
        #expect(fixture.drivers[0].reap()?.written == 1 && fixture.memory.load(base + 0x800, as: UInt8.self) == Self.ok)

        // Data and status in one buffer.
        fixture.memory.store(Self.read, at: base)
        let header = Segment(address: base, length: 4, isWritable: false)
        let rest = [segments[1], Segment(address: base + 0x200, length: 8, isWritable: false)]
        _ = fixture.drivers[0].submit([header] + rest + [Segment(address: base + 0x900, length: 513, isWritable: true)])
        fixture.notify()
        fixture.run()
        #expect(fixture.drivers[0].reap()?.written == 513)
        #expect(fixture.memory[base + 0x900, 513] == payload + [Self.ok])
    }

    @Test("5.2.6.1: requests outside the medium or of broken sectors fail, and move nothing")
    func bounds() throws {
        let fixture = try fixture(sectors: 64)
        fixture.bringUp()
        fixture.memory.recordsWrites = true
        let cases: [(sector: UInt64, bytes: Int)] = [
            (64, 512), (63, 1024), (.max, 512), (1 << 55, 512), (.max / 512, 1024), (0, 511), (0, 513),
        ]
        for (sector, bytes) in cases {
            for type in [Self.read, Self.write] {
                let result = try #require(fixture.perform(type: type, sector: sector, bytes: bytes))
                #expect(result.status == Self.ioError, "sector \(sector), \(bytes) bytes")
                #expect(result.written == (type == Self.read ? 0 : 1))
            }
        }
        #expect(fixture.memory.written.allSatisfy { !$0.overlaps(fixture.data(0)..<fixture.data(0) + 4096) })
        #expect(fixture.perform(type: Self.read, sector: 63, bytes: 512)?.status == Self.ok)
        #expect(fixture.perform(type: Self.read, sector: 64, bytes: 0)?.status == Self.ok, "nothing, at the very end")
        #expect(fixture.block.state.counters.ioErrors == UInt64(2 * cases.count))
    }

    @Test("5.2.6: unknown and unnegotiated types are unsupported")
    func unsupported() throws {
        let fixture = try fixture()
        fixture.bringUp([.version1])
        for type: UInt32 in [2, 3, 5, 7, 9, 10, 12, 14, 0x8000_0000, .max, Self.flush, Self.discard, Self.writeZeroes] {
            #expect(fixture.perform(type: type, bytes: 16)?.status == Self.unsupported, "type \(type)")
        }
        #expect(fixture.block.state.counters.unsupported == 13)
    }

    @Test("5.2.3: discard is offered where it is wanted, write-zeroes beside it all the same", arguments: [true, false])
    func discardOnOffer(isWanted: Bool) throws {
        let fixture = try fixture { $0.discards = isWanted }
        #expect(fixture.offered.contains(.blockDiscard) == isWanted)
        #expect(fixture.offered.contains(.blockWriteZeroes))
        fixture.bringUp()
        // One range of 16 bytes, `struct virtio_blk_discard_write_zeroes`: sector 8, eight sectors, no flags.
        fixture.memory[fixture.data(0), 16] = [8, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]
        #expect(fixture.perform(type: Self.discard, bytes: 16)?.status == (isWanted ? Self.ok : Self.unsupported))
    }

    @Test("5.2.6.2: a read-only device fails writes and writes nothing")
    func readOnly() throws {
        let fixture = try fixture(isReadOnly: true)
        #expect(fixture.offered.contains(.blockReadOnly))
        #expect(fixture.offered.isDisjoint(with: [.blockDiscard, .blockWriteZeroes]))
        fixture.bringUp()
        fixture.memory[fixture.data(0), 512] = [UInt8](repeating: 1, count: 512)
        #expect(fixture.perform(type: Self.write, bytes: 512)?.status == Self.ioError)
        #expect(fixture.perform(type: Self.read, bytes: 512, tag: 1)?.status == Self.ok)
        #expect(fixture.memory[fixture.data(1), 512] == [UInt8](repeating: 0, count: 512))
    }

    @Test("5.2.6: GET_ID gives 20 bytes, zero-padded")
    func serial() throws {
        let fixture = try fixture()
        fixture.bringUp()
        fixture.memory[fixture.data(0), 64] = [UInt8](repeating: 0xee, count: 64)
        #expect(try #require(fixture.perform(type: Self.getID, bytes: 20)) == (Self.ok, 21))
        #expect(fixture.memory[fixture.data(0), 21] == Array("OUTRIGGER-0001".utf8) + [0, 0, 0, 0, 0, 0, 0xee])
        #expect(try #require(fixture.perform(type: Self.getID, bytes: 8)) == (Self.ok, 9))
    }

    @Test("5.2.6.2: discard and write zeroes")
    func ranges() throws {
        let fixture = try fixture { $0.maximumDiscardSectors = 64; $0.maximumDiscardSegments = 4 }
        fixture.bringUp()
        fixture.memory[fixture.data(0), 8192] = [UInt8](repeating: 0xab, count: 8192)
        #expect(fixture.perform(type: Self.write, bytes: 8192)?.status == Self.ok)

        func request(_ type: UInt32, _ ranges: [(sector: UInt64, sectors: UInt32, flags: UInt32)]) -> UInt8? {
            for (index, range) in ranges.enumerated() {
                let address = fixture.data(0) + 16 * UInt64(index)
                fixture.memory.store(range.sector, at: address)
                fixture.memory.store(range.sectors, at: address + 8)
                fixture.memory.store(range.flags, at: address + 12)
            }
            return fixture.perform(type: type, bytes: 16 * ranges.count)?.status
        }
        func contents() -> [UInt8] {
            #expect(fixture.perform(type: Self.read, bytes: 8192, tag: 1)?.status == Self.ok)
            return fixture.memory[fixture.data(1), 8192]
        }
        let full = contents()
        // Nothing of a request takes effect if a part of it is wrong.
        #expect(request(Self.writeZeroes, [(0, 8, 0), (2047, 2, 0)]) == Self.ioError)
        #expect(request(Self.writeZeroes, [(0, 8, 0), (0, 65, 0)]) == Self.ioError)
        #expect(request(Self.writeZeroes, [(0, 8, 2)]) == Self.unsupported)
        #expect(request(Self.discard, [(0, 8, 1)]) == Self.unsupported)
        #expect(request(Self.discard, [(.max, 1, 0)]) == Self.ioError)
        #expect(request(Self.writeZeroes, Array(repeating: (0, 1, 0), count: 5)) == Self.ioError)
        #expect(request(Self.writeZeroes, []) == Self.ioError)
        #expect(fixture.perform(type: Self.discard, bytes: 24)?.status == Self.ioError)
        let isUntouched = contents() == full
        #expect(isUntouched)

        #expect(request(Self.writeZeroes, [(1, 2, 0), (8, 1, 1)]) == Self.ok)
        var expected = full
        expected.replaceSubrange(512..<1536, with: repeatElement(0, count: 1024))
        expected.replaceSubrange(4096..<4608, with: repeatElement(0, count: 512))
        let isZeroed = contents() == expected
        #expect(isZeroed)
        #expect(request(Self.discard, [(4, 4, 0)]) == Self.ok)
        expected.replaceSubrange(2048..<4096, with: repeatElement(0, count: 2048))
        let isDiscarded = contents() == expected
        #expect(isDiscarded, "in memory, discarded sectors read as zero")
    }

    @Test("5.2.5: the cache mode decides when a write is durable")
    func cacheMode() throws {
        final class CountingBackend: BlockBackend {
            let byteCount: UInt64 = 1 << 20
            let isReadOnly = false
            var flushes = 0
            func read(_ position: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(BackendError) {}
            func write(_ position: UInt64, from bytes: UnsafeRawBufferPointer) throws(BackendError) {}
            func flush() throws(BackendError) { flushes += 1 }
            func discard(_ position: UInt64, count: UInt64) throws(BackendError) {}
            func writeZeroes(_ position: UInt64, count: UInt64, mayUnmap: Bool) throws(BackendError) {}
        }
        let backend = CountingBackend()
        let fixture = BlockFixture(backend: backend)
        fixture.bringUp([.version1])
        #expect(fixture.perform(type: Self.write, bytes: 512)?.status == Self.ok)
        #expect(backend.flushes == 1, "neither FLUSH nor CONFIG_WCE: writethrough")
        fixture.bringUp([.version1, .blockFlush])
        #expect(fixture.perform(type: Self.write, bytes: 512)?.status == Self.ok)
        #expect(backend.flushes == 1, "FLUSH alone: writeback")
        #expect(fixture.perform(type: Self.flush)?.status == Self.ok)
        #expect(backend.flushes == 2)
        fixture.write(0x2020, 0, size: 1)
        #expect(fixture.read(0x2020, size: 1) == 1, "the mode can't be changed without CONFIG_WCE")
        fixture.bringUp([.version1, .blockFlush, .blockConfigWriteback])
        fixture.write(0x2020, 0, size: 1)
        #expect(fixture.perform(type: Self.write, bytes: 512)?.status == Self.ok)
        #expect(backend.flushes == 3, "writethrough by choice")
        fixture.bringUp([.version1, .blockFlush, .blockConfigWriteback])
        #expect(fixture.read(0x2020, size: 1) == 1, "writeback after a reset")
    }

    @Test("a failing medium is an I/O error, and the device goes on")
    func failingMedium() throws {
        final class FailingBackend: BlockBackend {
            let byteCount: UInt64 = 1 << 20
            let isReadOnly = false
            var fails = true
            private func maybe() throws(BackendError) {
                if fails { throw .truncated(path: "medium", position: 0) }
            }
            func read(_ position: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(BackendError) { try maybe() }
            func write(_ position: UInt64, from bytes: UnsafeRawBufferPointer) throws(BackendError) { try maybe() }
            func flush() throws(BackendError) { try maybe() }
            func discard(_ position: UInt64, count: UInt64) throws(BackendError) { try maybe() }
            func writeZeroes(_ position: UInt64, count: UInt64, mayUnmap: Bool) throws(BackendError) { try maybe() }
        }
        let backend = FailingBackend()
        let fixture = BlockFixture(backend: backend)
        fixture.bringUp()
        for type in [Self.read, Self.write, Self.flush] {
            #expect(fixture.perform(type: type, bytes: type == Self.flush ? 0 : 512)?.status == Self.ioError)
        }
        #expect(fixture.block.lastBackendError == .truncated(path: "medium", position: 0))
        #expect(fixture.block.state.counters.backendErrors == 3)
        backend.fails = false
        #expect(fixture.perform(type: Self.read, bytes: 512)?.status == Self.ok)
    }

    @Test("5.2.6.1: buffers beyond SIZE_MAX fail")
    func sizeMaximum() throws {
        let fixture = try fixture { $0.maximumSegmentBytes = 1024 }
        #expect(fixture.offered.contains(.blockSizeMax) && fixture.read(0x2008, size: 4) == 1024)
        fixture.bringUp()
        #expect(fixture.perform(type: Self.read, bytes: 2048)?.status == Self.ioError)
        #expect(fixture.perform(type: Self.read, bytes: 2048, pieces: 2)?.status == Self.ok)
    }
}
