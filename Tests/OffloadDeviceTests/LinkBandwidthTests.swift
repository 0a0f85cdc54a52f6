import OffloadDevice
import Testing

/// GT/s x lanes x encoding x payload of a packet of 256 bytes, in bytes a second: the link that configuration space shows.
private let fullBandwidth = 32e9 * 8 / 8 * (128.0 / 130) * (256.0 / 280)

/// What DMA and register accesses take on the link between host and device.
@Suite struct LinkBandwidthTests {
    /// A disk whose medium and cores cost next to nothing, so that the link is what it waits for.
    private func machine(bandwidth: String) throws -> Machine {
        var description = try MachineDescription(yaml: "link: {bandwidth: \(bandwidth)}", file: "machine.yaml")
        description.medium.bandwidth = 1 << 40
        // Nor do the doorbells of so many small requests.
        (description.medium.latency, description.service.cost, description.latency.pcie) = (0, 1, 0)
        return try Machine(description, pace: .lockstep)
    }

    /// Requests of one size, always several in flight: payload moves at the configured bandwidth within 5 %, whatever the size.
    @Test(arguments: [("500 MB/s", 0.5e9), ("4 GB/s", 4e9), ("16 GB/s", 16e9), ("full", fullBandwidth)] as [(String, Double)])
    func dmaMovesAtTheConfiguredBandwidth(bandwidth: String, expected: Double) throws {
        for bytes in [4, 8, 16, 32, 64, 128, 256, 512, 1024].map({ $0 << 10 }) {
            for isRead in [true, false] {
                let machine = try machine(bandwidth: bandwidth)
                defer { machine.stop() }
                // A queue of eight that is kept full for each of as many functions as it takes to keep the link busy.
                var drivers = (1...4).map { BlockDriver(machine, function: $0, offset: $0 << 24) }
                func serve(_ cycles: UInt64) -> UInt64 {
                    func moved() -> UInt64 { machine.inspect { isRead ? $0.toHost.bytes : $0.fromHost.bytes } }
                    let before = moved(), end = machine.now + cycles
                    while machine.now < end {
                        for index in drivers.indices {
                            while drivers[index].submitted &- drivers[index].completed < 7 {
                                drivers[index].submit(type: isRead ? 0 : 1, sector: 0, count: bytes)
                            }
                        }
                        machine.advance(by: 200)
                    }
                    return moved() - before
                }
                let warmUp = serve(200_000), start = machine.now
                #expect(warmUp > 0)
                let moved = Double(serve(2_000_000)), elapsed = Double(machine.now - start)
                // Device cycles are nanoseconds.
                let rate = moved / elapsed * 1e9
                #expect(abs(rate / expected - 1) <= 0.05, "\(bytes) bytes, \(isRead ? "reads" : "writes"): \(rate) of \(expected) B/s")
            }
        }
    }

    /// A read of a register takes the round trip, a posted write half of it.
    @Test(arguments: [200, 800, 5_000] as [UInt64]) func registersTakeTheirRoundTrip(cycles: UInt64) throws {
        var description = MachineDescription()
        description.latency.pcie = cycles
        let machine = try Machine(description, pace: .lockstep)
        defer { machine.stop() }
        let start = machine.now
        _ = machine.readBAR(function: 0, bar: 0, offset: 0, size: 4, origin: 0)
        let read = machine.now - start
        machine.writeBAR(function: 0, bar: 0, offset: 0x30, size: 4, value: 1, origin: 0)
        let write = machine.now - start - read
        #expect(read >= cycles && read < cycles + 50, "a read: \(read)")
        #expect(write >= cycles / 2 && write < cycles / 2 + 50, "a write: \(write)")
    }
}
