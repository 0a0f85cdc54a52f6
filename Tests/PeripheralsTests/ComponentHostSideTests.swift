import Interconnect
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Testing

/// Memory behind a DMA port that can be cut after so many bytes.
private final class Memory: DMAPort {
    var bytes: [UInt8]
    let base: UInt64
    /// Bytes that may still pass.
    var allowance = Int.max

    init(base: UInt64, _ bytes: [UInt8]) { (self.base, self.bytes) = (base, bytes) }

    private func place(_ address: UInt64, _ count: Int) -> Int? {
        guard address >= base, address - base <= UInt64(bytes.count), count <= bytes.count - Int(address - base), count <= allowance else {
            return nil
        }
        allowance -= allowance == .max ? 0 : count
        return Int(address - base)
    }
    func read(_ address: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> BusStatus {
        guard let place = place(address, buffer.count) else { return .denied }
        buffer.copyBytes(from: bytes[place..<place + buffer.count])
        return .ok
    }
    func write(_ address: UInt64, from buffer: UnsafeRawBufferPointer) -> BusStatus {
        guard let place = place(address, buffer.count) else { return .denied }
        bytes.replaceSubrange(place..<place + buffer.count, with: buffer)
        return .ok
    }
    func peek(_ address: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Bool { read(address, into: buffer) == .ok }
    func pointer(to address: UInt64, count: Int, writing: Bool) -> UnsafeMutableRawPointer? { nil }
    func check(_ address: UInt64, count: Int, writing: Bool) -> BusStatus { .ok }
    func wrote(_ address: UInt64, count: Int) {}
}

private final class Messages: InterruptMessageSink {
    var vectors: [Int] = []
    func interruptMessage(_ vector: Int, at cycle: Cycle) { vectors.append(vector) }
}

/// The controller with both its sides and its ways of transfer.
private struct Bench {
    static let linkLatency: Cycle = 500
    let scheduler = Scheduler()
    let controller: VirtualIOController
    let local = Memory(base: 0x4000_0000, (0..<(1 << 16)).map { UInt8(truncatingIfNeeded: $0 &* 7) })
    let host = Memory(base: 0x1_0000_0000, .init(repeating: 0, count: 1 << 17))
    let messages = Messages()
    let firmware: RegisterProbe, agent: RegisterProbe

    init() {
        controller = VirtualIOController(on: scheduler)
        let rate = Rate(bytesPerMicrosecond: 1000, cyclesPerMicrosecond: 1000)
        let links = ["up", "down"].map { [scheduler] in Link(.init(name: $0, rate: rate, latency: Self.linkLatency), on: scheduler) }
        controller.connect(TransferPaths(local: local, host: host, toHost: links[0], fromHost: links[1]))
        controller.messages = messages
        firmware = RegisterProbe(target: controller, map: VIC.map, scheduler: scheduler)
        agent = RegisterProbe(target: controller.host, map: VIC_HOST.map, scheduler: scheduler)
        agent.write(VIC_HOST.BUFFER_LO, 0x100)
        agent.write(VIC_HOST.BUFFER_HI, 1)
        agent.write(VIC_HOST.BUFFER_SIZE, 1 << 16)
        agent.write(VIC_HOST.AGENT, 3 << 8 | 1)
    }

    /// Starts a transfer and lets it end; the cycles that it took.
    func transfer(_ bytes: UInt64, offset: UInt64 = 0, fromHost: Bool = false) -> Cycle {
        firmware.write(VIC.TRANSFER_LOCAL, 0x4000_0000 + offset)
        firmware.write(VIC.TRANSFER_OFFSET, offset)
        let start = scheduler.now
        firmware.write(VIC.TRANSFER_CONTROL, bytes | (fromHost ? VIC.TRANSFER_CONTROL.from_host.mask : 0) | 1 << 30)
        while firmware.read(VIC.TRANSFER_STATUS) & 1 << 30 != 0, let due = scheduler.nextDue == .max ? nil : scheduler.nextDue {
            scheduler.advance(to: due)
        }
        return scheduler.now - start
    }

    var moved: UInt64 { firmware.read(VIC.TRANSFER_STATUS) & 0x1_ffff }
    var hasFailed: Bool { firmware.read(VIC.TRANSFER_STATUS) >> 31 == 1 }
}

@Suite struct ComponentTransferTests {
    /// S bytes take S over the link's bandwidth, within 5 %, and the link's latency once.
    @Test(arguments: [16 << 10, 40_000, 1 << 16] as [UInt64]) func aTransferTakesItsBytesOverTheBandwidth(bytes: UInt64) {
        for fromHost in [false, true] {
            let bench = Bench()
            let cycles = bench.transfer(bytes, fromHost: fromHost)
            #expect(bench.moved == bytes && !bench.hasFailed)
            let ideal = Double(bytes)
            #expect(abs(Double(cycles - Bench.linkLatency) - ideal) <= 0.05 * ideal, "\(cycles) cycles for \(bytes) bytes")
            if !fromHost { #expect(bench.host.bytes[0x100..<0x100 + Int(bytes)].elementsEqual(bench.local.bytes[..<Int(bytes)])) }
        }
    }

    /// Cut at every piece: what has moved is known, and the rest moves later.
    @Test func aCutTransferGoesOn() {
        for cut in stride(from: 0, to: 2000, by: 256) {
            let bench = Bench()
            bench.host.allowance = cut
            _ = bench.transfer(2000)
            #expect(bench.hasFailed && bench.moved == UInt64(cut))
            bench.host.allowance = .max
            _ = bench.transfer(2000 - UInt64(cut), offset: UInt64(cut))
            #expect(!bench.hasFailed && bench.moved == UInt64(2000 - cut))
            #expect(bench.host.bytes[0x100..<0x100 + 2000].elementsEqual(bench.local.bytes[..<2000]))
            #expect(bench.host.bytes[0x100 + 2000] == 0, "not a byte more")
        }
    }

    @Test func nothingLeavesTheBuffer() {
        let bench = Bench()
        bench.agent.write(VIC_HOST.BUFFER_SIZE, 1000)
        _ = bench.transfer(1001)
        #expect(bench.hasFailed && bench.moved == 0)
        _ = bench.transfer(500, offset: 501)
        #expect(bench.hasFailed && bench.moved == 0)
        #expect(bench.host.bytes.allSatisfy { $0 == 0 })
        _ = bench.transfer(1000)
        #expect(!bench.hasFailed)
    }

    /// Without an agent nothing moves, and an agent that goes ends what moves.
    @Test func anAgentThatGoesEndsATransfer() {
        let bench = Bench()
        bench.firmware.write(VIC.TRANSFER_LOCAL, 0x4000_0000)
        bench.firmware.write(VIC.TRANSFER_CONTROL, 4096 | 1 << 30)
        bench.agent.write(VIC_HOST.AGENT, 0)
        #expect(bench.hasFailed && bench.moved == 0)
        bench.scheduler.advance(to: 100_000)
        #expect(bench.moved == 0, "pieces on their way are dropped")
        _ = bench.transfer(10)
        #expect(bench.hasFailed)
    }
}

@Suite struct ComponentAgentSideTests {
    @Test func requestsAndRepliesPass() {
        let bench = Bench()
        bench.firmware.write(VIC.COMPONENT_REQUEST, 5, 1 | 9 << 8 | 200 << 16)
        #expect(bench.messages.vectors == [3])
        #expect(bench.agent.read(VIC_HOST.ATTENTION, 0) == 1 << 5)
        #expect(bench.agent.read(VIC_HOST.ATTENTION, 0) == 0, "a read takes it")
        #expect(bench.agent.read(VIC_HOST.COMPONENT_REQUEST, 5) == 1 | 9 << 8 | 200 << 16)
        while bench.firmware.read(VIC.EVENT) != 0 {}
        bench.agent.write(VIC_HOST.COMPONENT_REPLY, 5, 1 | 9 << 8 | 7 << 16)
        #expect(bench.firmware.read(VIC.EVENT) == VIC.Event.reply.rawValue | 5 << 8 | 9 << 16)
        #expect(bench.firmware.read(VIC.COMPONENT_REPLY, 5) == 1 | 9 << 8 | 7 << 16)
    }

    @Test func theFirmwareHearsOfTheAgent() {
        let bench = Bench()
        #expect(bench.firmware.read(VIC.AGENT) == 1 | 1 << 24)
        #expect(bench.firmware.read(VIC.EVENT) == VIC.Event.agent.rawValue | 1 << 16)
        bench.controller.resetHost()
        #expect(bench.firmware.read(VIC.EVENT) == VIC.Event.agent.rawValue)
        #expect(bench.firmware.read(VIC.AGENT) & 1 == 0)
        bench.firmware.write(VIC.COMPONENT_REQUEST, 5, 1)
        #expect(bench.messages.vectors.isEmpty, "nobody is there to be told")
    }
}
