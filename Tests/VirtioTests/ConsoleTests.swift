import Simulation
import Testing
import Virtio

@Suite("5.3 Console device")
struct ConsoleTests {
    private let fixture = ConsoleFixture()

    @Test("text comes out in order, and an interrupt says that its buffer is free")
    func output() {
        fixture.bringUp()
        #expect(fixture.read(0x2000, size: 2) == 80 && fixture.read(0x2002, size: 2) == 25 && fixture.read(0x2004, size: 4) == 1)
        #expect(fixture.read(0x2000, size: 8) == 0x1_0019_0050 && fixture.read(0x2008, size: 4) == 0)
        fixture.offer(Array("hello, ".utf8), queue: 1)
        fixture.offer(Array("world\n".utf8), at: 64, queue: 1)
        fixture.run()
        #expect(String(decoding: fixture.output, as: UTF8.self) == "hello, world\n")
        #expect(fixture.queues[1].reap()?.written == 0 && fixture.queues[1].reap() != nil && fixture.interrupts.raised[2] >= 1)
        fixture.offer([UInt8](repeating: 65, count: 10_000), queue: 1)
        fixture.run()
        #expect(fixture.output.count == 10_013 && fixture.console.state.bytesSent == 10_013)
    }

    @Test("typed bytes fill the buffers that there are, and wait for more")
    func input() throws {
        #expect(fixture.console.type([1, 2]) == 0, "there is no driver")
        fixture.bringUp()
        fixture.offer([0, 0, 0, 0], queue: 0)
        #expect(fixture.console.type(Array("abcdefgh".utf8)) == 8)
        fixture.run()
        #expect(fixture.queues[0].reap()?.written == 4 && fixture.queues[0].reap() == nil)
        #expect(fixture.console.requestsInFlight == 0)
        fixture.offer([UInt8](repeating: 0, count: 100), at: 64, queue: 0)
        fixture.run()
        #expect(fixture.queues[0].reap()?.written == 4)
        #expect(fixture.memory[fixture.queues[0].buffers, 4] == Array("abcd".utf8))
        #expect(fixture.memory[fixture.queues[0].buffers + 64, 4] == Array("efgh".utf8))
        #expect(fixture.console.type([UInt8](repeating: 1, count: 5000)) == 4096, "the rest must wait")
    }

    @Test("a reset in mid-flight leaves no trace, and a saved state goes on")
    func resets() throws {
        for delay in stride(from: 0 as Cycle, to: 2000, by: 50) {
            let fixture = ConsoleFixture()
            fixture.bringUp()
            fixture.offer(Array("lost".utf8), queue: 1)
            fixture.offer([0, 0], queue: 0)
            _ = fixture.console.type([7])
            fixture.scheduler.advance(to: fixture.scheduler.now + delay)
            var saved = StateArchive()
            try fixture.archive(&saved)
            let count = fixture.output.count
            fixture.status = []
            fixture.run()
            #expect(fixture.output.count == count)
            var loaded = StateArchive(loading: saved.bytes)
            try fixture.archive(&loaded)
            fixture.run()
            #expect(fixture.output == Array("lost".utf8) && fixture.queues[0].reap()?.written == 1, "after \(delay)")
        }
    }

    @Test("a wild buffer is the driver's fault")
    func wild() {
        fixture.bringUp()
        _ = fixture.queues[1].submit([Segment(address: fixture.queues[1].buffers, length: 4, isWritable: false)])
        fixture.notify(queue: 1)
        fixture.memory.isEnabled = false
        fixture.run()
        #expect(fixture.status.contains(.needsReset))
        fixture.memory.isEnabled = true
        fixture.bringUp()
        fixture.offer([65], queue: 1)
        fixture.run()
        #expect(fixture.output == [65])
    }
}
