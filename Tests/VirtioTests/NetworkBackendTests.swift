import Foundation
import Scratch
import Simulation
import Testing
import Virtio

@Suite("Ethernet switch")
struct SwitchTests {
    private let hardware = FixtureHardware()
    private let functions: [NetworkFixture]
    private let addresses = (1...3).map { MACAddress(value: 0x0200_0000_0000 + UInt64($0)) }

    init() {
        let backend = EthernetSwitch()
        var functions: [NetworkFixture] = []
        for number in 1...3 {
            functions.append(NetworkFixture(backend: backend, number: number, on: hardware))
            functions[number - 1].begin()
        }
        self.functions = functions
    }

    private func send(_ from: Int, to destination: MACAddress, vlan: UInt8? = nil) -> [Bool] {
        var bytes = frame(to: destination, from: addresses[from])
        if let vlan { bytes.replaceSubrange(12..<16, with: [0x81, 0, 0, vlan]) }
        functions[from].send(bytes)
        functions[from].notifyTransmit()
        functions[from].run()
        return functions.map { function in
            let arrived = function.receive()?.frame == bytes
            function.fill()
            return arrived
        }
    }

    @Test("frames are flooded until their destination is known, and go to it alone from then on")
    func learning() {
        #expect(send(0, to: addresses[1]) == [false, true, true])
        #expect(send(1, to: addresses[0]) == [true, false, false])
        #expect(send(0, to: addresses[1]) == [false, true, false])
        #expect(send(0, to: .broadcast) == [false, true, true])
        #expect(send(0, to: addresses[0]) == [false, false, false])
        // Another VLAN is another network.
        #expect(send(0, to: addresses[1], vlan: 5) == [false, true, true])
        // A station moves.
        #expect(send(2, to: addresses[1]) == [false, true, false])
        functions[1].send(frame(to: addresses[0], from: addresses[2]))
        functions[1].notifyTransmit()
        functions[1].run()
        #expect(functions[0].receive() != nil)
        #expect(send(0, to: addresses[2]) == [false, true, false])
    }

    @Test("more stations than the table has places are flooded to, never lost")
    func fullTable() throws {
        let backend = EthernetSwitch()
        final class Sink: NetworkPort {
            var count = 0
            func receive(_ frame: NetworkFrame) { count += 1 }
        }
        let sinks = [Sink(), Sink(), Sink()]
        // The switch doesn't keep them.
        defer { withExtendedLifetime(sinks) {} }
        for sink in sinks { _ = backend.connect(sink) }
        for number in 0..<5000 as Range<UInt64> {
            let base: UInt64 = 0x0200_0000_0000
            frame(to: MACAddress(value: base + (number ^ 1)), from: MACAddress(value: base + number)).withUnsafeBytes {
                backend.transmit(NetworkFrame($0), from: Int(number % 2), at: 0)
            }
        }
        #expect(backend.state.forwarded == 2500 && backend.state.flooded == 2500, "every second station was just heard")
        #expect(sinks.map(\.count) == [2500 , 2500, 2500])
        for number in 0..<5000 as Range<UInt64> {
            frame(to: MACAddress(value: 0x0200_0000_0000 + number)).withUnsafeBytes { backend.transmit(NetworkFrame($0), from: 2, at: 0) }
        }
        #expect(backend.state.forwarded + backend.state.flooded == 10_000)
        var saved = StateArchive()
        try backend.archive(&saved)
        var loaded = StateArchive(loading: saved.bytes)
        try backend.archive(&loaded)
    }
}

@Suite("Capture files")
struct CaptureTests {
    private let temporary: TemporaryFolder
    private let folder: String

    init() throws {
        temporary = try TemporaryFolder()
        folder = temporary.path
    }

    private func words(_ values: [UInt32], swapped: Bool) -> [UInt8] {
        values.flatMap { value in withUnsafeBytes(of: swapped ? value.bigEndian : value.littleEndian) { Array($0) } }
    }

    /// Two packets, 1.5 ms apart.
    private func file(_ magic: UInt32 = 0xa1b2_c3d4, swapped: Bool = false) -> [UInt8] {
        let fraction: UInt32 = magic == 0xa1b2_c3d4 ? 1500 : 1_500_000
        var bytes = words([magic, swapped ? 0x0002_0004 : 0x0004_0002, 0, 0, 65535, 1], swapped: swapped)
        bytes += words([100, 0, 60, 60], swapped: swapped) + frame(seed: 1)
        bytes += words([100, fraction, 70, 70], swapped: swapped) + frame(bytes: 70, seed: 2)
        return bytes
    }

    private func write(_ bytes: [UInt8]) throws -> String {
        let path = "\(folder)/\(bytes.count).pcap"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return path
    }

    @Test("packets come at their times, whatever the order of bytes and the unit", arguments: [
        (0xa1b2_c3d4, false), (0xa1b2_c3d4, true), (0xa1b2_3c4d, false), (0xa1b2_3c4d, true),
    ] as [(UInt32, Bool)])
    func input(magic: UInt32, swapped: Bool) throws {
        let path = try write(file(magic, swapped: swapped))
        let backend = try ExternalNetwork(input: path, cyclesPerMicrosecond: 1000)
        let fixture = NetworkFixture(backend: backend)
        fixture.begin()
        let start = fixture.scheduler.now
        fixture.run(limit: 1_000_000)
        #expect(fixture.receive()?.frame == frame(seed: 1) && fixture.receive() == nil)
        fixture.run()
        #expect(fixture.receive()?.frame == frame(bytes: 70, seed: 2))
        #expect(fixture.scheduler.now - start > 1_500_000 && fixture.scheduler.now - start < 1_510_000)
        var saved = StateArchive()
        try fixture.archive(&saved)
        var loaded = StateArchive(loading: saved.bytes)
        try fixture.archive(&loaded)
    }

    @Test("what was sent is a capture file that can be received")
    func output() throws {
        let path = "\(folder)/out.pcap"
        let backend = try ExternalNetwork(cyclesPerMicrosecond: 1000)
        let writer = try CaptureWriter(path: path, cyclesPerMicrosecond: 1000)
        backend.onTransmit = { writer.append($0, at: $1) }
        let fixture = NetworkFixture(backend: backend)
        fixture.begin()
        for size in [60, 61, 1500] { fixture.send(frame(bytes: size, seed: size)) }
        fixture.notifyTransmit()
        fixture.run()
        #expect(writer.failures == 0)
        let again = NetworkFixture(backend: try ExternalNetwork(input: path, cyclesPerMicrosecond: 1000))
        again.begin()
        again.run()
        for size in [60, 61, 1500] { #expect(again.receive()?.frame == frame(bytes: size, seed: size)) }
    }

    @Test("a file that is none is refused at its place")
    func refused() throws {
        func message(_ bytes: [UInt8]) throws -> String {
            let path = try write(bytes)
            do {
                _ = try ExternalNetwork(input: path, cyclesPerMicrosecond: 1000)
                return "none"
            } catch {
                return "\(error)".replacingOccurrences(of: path + ": ", with: "")
            }
        }
        var bytes = file()
        #expect(try message(Array(bytes[..<20])) == "byte 0: expected a header of 24 bytes, found 20 bytes")
        #expect(try message([1, 2, 3, 4] + bytes[4...]) == "byte 0: expected the magic number of a pcap file, found 0x4030201")
        #expect(try message(Array(bytes[..<30])) == "byte 24: expected a record header of 16 bytes, found 6 bytes")
        #expect(try message(Array(bytes[..<99])) == "byte 32: expected a packet of at most 59 bytes, found 60")
        bytes[20] = 101
        #expect(try message(bytes) == "byte 20: expected link type 1 (Ethernet), found 101")
        bytes = file()
        bytes[4] = 3
        #expect(try message(bytes) == "byte 4: expected version 2.4, found 0x40003")
        bytes = file()
        bytes.replaceSubrange(28..<32, with: [255, 255, 255, 255])
        #expect(try message(bytes) == "byte 28: expected less than a second, found 4294967295")
        do {
            _ = try ExternalNetwork(input: folder + "/missing", cyclesPerMicrosecond: 1000)
            Issue.record("no error")
        } catch {
            #expect("\(error)" == "\(folder)/missing: open: error 2")
        }
    }

    @Test("random damage is refused or survived", arguments: [1, 2, 3] as [UInt64])
    func damage(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for _ in 0..<150 {
            var bytes = file()
            for _ in 0..<1 + random.next() % 4 {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            bytes.removeLast(Int(random.next() % 40))
            guard let backend = try? ExternalNetwork(input: try write(bytes), cyclesPerMicrosecond: 1000) else { continue }
            let fixture = NetworkFixture(backend: backend)
            fixture.begin()
            for _ in 0..<20 { fixture.run(limit: .max >> 2) }
            while fixture.receive() != nil {}
        }
    }
}
