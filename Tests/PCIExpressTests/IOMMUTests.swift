import Interconnect
import PCIExpress
import Registers
import Simulation
import Testing

/// Byte by byte, as an address space of 4096 bytes: what a domain should do.
private struct DomainReference {
    struct Byte { var place: Int; var readable: Bool; var writable: Bool }
    var bytes = [Byte?](repeating: nil, count: 4096)

    func allows(_ address: Int, _ count: Int, writing: Bool) -> Bool {
        (address..<address + count).allSatisfy {
            bytes.indices.contains($0) && (writing ? bytes[$0]?.writable : bytes[$0]?.readable) == true
        }
    }
}

@Suite struct IOMMUTests {
    private func masterFixture() throws -> (Fixture, DMADomain) {
        let fixture = try Fixture()
        try fixture.hierarchy.setVirtualFunctions(2)
        fixture.function(1).writeConfiguration(Header.command, size: 2, 4)
        fixture.events = []
        return (fixture, fixture.function(1).domain!)
    }

    private func read(_ port: any DMAPort, _ address: UInt64, _ count: Int) -> (BusStatus, [UInt8]) {
        var bytes = [UInt8](repeating: 0xee, count: count)
        let status = bytes.withUnsafeMutableBytes { port.read(address, into: $0) }
        return (status, bytes)
    }
    private func write(_ port: any DMAPort, _ address: UInt64, _ bytes: [UInt8]) -> BusStatus {
        bytes.withUnsafeBytes { port.write(address, from: $0) }
    }

    @Test func bytesMoveBothWaysAndObserversHear() throws {
        let (fixture, domain) = try masterFixture()
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 8)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
        try domain.map(DMAMapping(address: 0x1_0000_0000, count: 4096, memory: memory))
        fixture.scheduler.advance(to: 77)
        #expect(write(domain, 0x1_0000_0ffc, [1, 2, 3, 4]) == .ok)
        #expect(fixture.events == [.written(owner: 1, address: 0x1_0000_0ffc, bytes: 4, cycle: 77)])
        #expect(read(domain, 0x1_0000_0ffb, 5) == (.ok, [0, 1, 2, 3, 4]))
        let pointer = try #require(domain.pointer(to: 0x1_0000_0010, count: 16, writing: true))
        #expect(pointer == memory + 16)
        domain.wrote(0x1_0000_0010, count: 16)
        #expect(fixture.events.count == 2)
        #expect(write(domain, 0, []) == .ok)
        #expect(fixture.hierarchy.iommu.state.faultCount == 0)
    }

    @Test func withoutBusMasteringNothingMoves() throws {
        let (fixture, domain) = try masterFixture()
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 7, count: 16)
        try domain.map(DMAMapping(address: 0, count: 16, memory: memory))
        #expect(domain.pointer(to: 0, count: 16, writing: true) == memory)
        let port = fixture.hierarchy.rootPort
        let pm = fixture.function(1).capability(1)! + 4
        let function = fixture.function(1)
        let offs: [(off: () -> Void, on: () -> Void)] = [
            ({ function.writeConfiguration(Header.command, size: 2, 0) }, { function.writeConfiguration(Header.command, size: 2, 4) }),
            ({ port.writeConfiguration(Header.command, size: 1, 3) }, { port.writeConfiguration(Header.command, size: 1, 7) }),
            ({ fixture.function(1).writeConfiguration(pm, size: 2, 3) }, { fixture.function(1).writeConfiguration(pm, size: 2, 0) }),
        ]
        for (i, (off, on)) in offs.enumerated() {
            off()
            #expect(domain.pointer(to: 0, count: 1, writing: false) == nil)
            #expect(!withUnsafeTemporaryAllocation(byteCount: 4, alignment: 1) { domain.peek(0, into: $0) })
            #expect(write(domain, 0, [9]) == .denied)
            #expect(read(domain, 0, 1) == (.denied, [0xee]))
            #expect(memory.load(as: UInt8.self) == 7)
            on()
            #expect(read(domain, 0, 1) == (.ok, [7]))
            #expect(domain.state.faultCount == UInt64(2 * (i + 1)))
        }
        let fault = try #require(fixture.hierarchy.iommu.state.faults.first)
        #expect((fault.function, fault.address, fault.count, fault.isWrite) == (1, 0, 1, true))
        #expect(fault.cause == .busMasterDisabled)
    }

    @Test func faultsAreRecordedAndMoveNothing() throws {
        let (fixture, domain) = try masterFixture()
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 8)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 7, count: 64)
        try domain.map(DMAMapping(address: 0x100, count: 32, memory: memory))
        try domain.map(DMAMapping(address: 0x120, count: 32, memory: memory + 32, isWritable: false))
        // The first 32 bytes would be allowed; not one is written.
        #expect(write(domain, 0x110, [UInt8](repeating: 1, count: 32)) == .denied)
        #expect((0..<64).allSatisfy { memory.load(fromByteOffset: $0, as: UInt8.self) == 7 })
        #expect(read(domain, 0x110, 48).0 == .ok)
        #expect(read(domain, 0x110, 49) == (.denied, [UInt8](repeating: 0xee, count: 49)))
        #expect(write(domain, .max, [1, 2]) == .denied)
        #expect(read(domain, .max - 3, 8).0 == .denied)
        let faults = fixture.hierarchy.iommu.state.faults
        #expect(faults.map(\.cause) == [.notPermitted, .unmapped, .unmapped, .unmapped])
        #expect(faults.map(\.address) == [0x120, 0x140, .max, .max - 3])
        #expect(faults.map(\.count) == [32, 49, 2, 8])
        #expect(fixture.function(1).readConfiguration(Header.status, size: 2) & 0x2000 != 0, "received master abort")
        #expect(fixture.function(2).readConfiguration(Header.status, size: 2) & 0x2000 == 0)
        for _ in 0..<200 { _ = read(domain, 0, 1) }
        #expect(fixture.hierarchy.iommu.state.faults.count == IOMMU.recordLimit)
        #expect(fixture.hierarchy.iommu.state.faultCount == 204)
        #expect(fixture.events.isEmpty, "nobody was told of a write")
    }

    @Test func domainsAreApart() throws {
        let (fixture, domain) = try masterFixture()
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 8)
        defer { memory.deallocate() }
        try fixture.function(2).domain!.map(DMAMapping(address: 0, count: 64, memory: memory))
        #expect(read(domain, 0, 1).0 == .denied)
    }

    @Test func resetsDropTheClientsMemoryOnly() throws {
        let (fixture, domain) = try masterFixture()
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 8)
        defer { memory.deallocate() }
        try domain.map(DMAMapping(address: 0, count: 32, memory: memory))
        try domain.map(DMAMapping(address: 32, count: 32, memory: memory + 32, origin: .client))
        #expect(domain.pointer(to: 40, count: 1, writing: false) != nil)
        fixture.hierarchy.functionLevelReset(fixture.function(1))
        fixture.function(1).writeConfiguration(Header.command, size: 2, 4)
        #expect(domain.pointer(to: 40, count: 1, writing: false) == nil)
        #expect(domain.pointer(to: 0, count: 32, writing: false) == memory)
    }

    @Test func badMappingsAreRefused() throws {
        let (_, domain) = try masterFixture()
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 8)
        defer { memory.deallocate() }
        func map(_ address: UInt64, _ count: UInt64) throws { try domain.map(DMAMapping(address: address, count: count, memory: memory)) }
        #expect(throws: DMAMappingError.badRange(address: 5, count: 0)) { try map(5, 0) }
        #expect(throws: DMAMappingError.badRange(address: .max, count: 2)) { try map(.max, 2) }
        try map(.max, 1)
        try map(100, 10)
        #expect(throws: DMAMappingError.overlap(address: 91, count: 10, with: 100)) { try map(91, 10) }
        #expect(throws: DMAMappingError.overlap(address: 109, count: 1, with: 100)) { try map(109, 1) }
        #expect(throws: DMAMappingError.overlap(address: 0, count: 1000, with: 100)) { try map(0, 1000) }
        try map(90, 10)
        try map(110, 1)
        #expect(domain.state.mappings.map(\.address) == [90, 100, 110, .max])
    }

    @Test("maps, unmaps and transfers in any order agree with a byte-wise reference", arguments: [UInt64(31), 32, 33, 34])
    func reference(_ seed: UInt64) throws {
        let (fixture, domain) = try masterFixture()
        defer { withExtendedLifetime(fixture) {} }
        var random = SplitMix64(seed: seed)
        let size = 1 << 16
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 8)
        defer { memory.deallocate() }
        for i in 0..<size { memory.storeBytes(of: UInt8(truncatingIfNeeded: random.next()), toByteOffset: i, as: UInt8.self) }
        var model = DomainReference(), next = 0, faults: UInt64 = 0
        for step in 0..<4000 {
            let address = Int.random(in: 0..<4096, using: &random), count = Int.random(in: 1...200, using: &random)
            switch Int.random(in: 0..<8, using: &random) {
            case 0, 1:
                guard address + count <= 4096, next + count <= size else { continue }
                let readable = Int.random(in: 0..<8, using: &random) != 0, writable = Int.random(in: 0..<4, using: &random) != 0
                let free = model.bytes[address..<address + count].allSatisfy { $0 == nil }
                let mapping = DMAMapping(
                    address: UInt64(address), count: UInt64(count), memory: memory + next, isReadable: readable, isWritable: writable)
                let mapped = (try? domain.map(mapping)) != nil
                #expect(mapped == free, "seed \(seed), step \(step)")
                guard free else { continue }
                for i in 0..<count { model.bytes[address + i] = .init(place: next + i, readable: readable, writable: writable) }
                // Some mappings continue the one before in memory too, most do not.
                next += count + (step % 3 == 0 ? 0 : 8)
            case 2:
                guard step % 4 == 0 else { continue }
                domain.unmap(UInt64(address), count: UInt64(count))
                for i in address..<min(address + count, 4096) { model.bytes[i] = nil }
            case 3, 4, 5:
                let allowed = model.allows(address, count, writing: false)
                let (status, bytes) = read(domain, UInt64(address), count)
                #expect(status == (allowed ? .ok : .denied), "seed \(seed), step \(step)")
                if allowed {
                    let expected = (address..<address + count).map { memory.load(fromByteOffset: model.bytes[$0]!.place, as: UInt8.self) }
                    #expect(bytes == expected, "seed \(seed), step \(step)")
                } else {
                    faults += 1
                }
                var look = [UInt8](repeating: 0xee, count: count)
                #expect(look.withUnsafeMutableBytes { domain.peek(UInt64(address), into: $0) } == allowed, "seed \(seed), step \(step)")
                #expect(look == bytes)
            default:
                let allowed = model.allows(address, count, writing: true)
                let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
                let before = [UInt8](UnsafeRawBufferPointer(start: memory, count: size))
                #expect(write(domain, UInt64(address), bytes) == (allowed ? .ok : .denied), "seed \(seed), step \(step)")
                var expected = before
                if allowed { for i in 0..<count { expected[model.bytes[address + i]!.place] = bytes[i] } } else { faults += 1 }
                let after = [UInt8](UnsafeRawBufferPointer(start: memory, count: size))
                #expect(after == expected, "seed \(seed), step \(step)")
            }
        }
        #expect(domain.state.faultCount == faults)
    }
}
