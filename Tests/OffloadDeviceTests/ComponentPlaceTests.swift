import AdminProtocol
import ComponentLoad
import OffloadDevice
import Testing

/// What becomes of a component that moves, and of one that the firmware moves by itself, with the project's own firmware and host agent.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct ComponentPlaceTests {
    /// Ten thousand moves by `swift run -c release component-moves`.
    @Test func movesLeaveNothingBehind() throws {
        let rig = try MoveRig(firmware: FirmwareRig.read(), seed: 21)
        try rig.startAgent()
        for _ in 0..<20 { try rig.turn() }
        let (device, host) = try rig.moveForever(102)
        #expect(device.components == host.components && device.components > 0)
        #expect((device.hosted, host.hosted) == (0, 1))
        #expect((device.cores, host.cores) == (2, 0), "the owner's service cores are given back while the host serves")
        #expect(device.blocks == 4 && host.guarantee == device.guarantee)
        for held in [device, host] {
            #expect(held.inFlight == 0 && held.doorbells == 0 && held.queues == 1 && held.transfers == 0 && held.served == 0)
            #expect(held.buffered == 0 && held.events == 0)
        }
    }

    /// Bursts that come every twenty intervals, without a sign: who goes by the latest interval is late, the forecasts aren't.
    @Test func forecastsMoveTheComponentBeforeItsBurst() throws {
        let load = PlacementRun(firmware: try FirmwareRig.read(), bursts: .regular, intervals: 160, seed: 9)
        let stays = try load.run(.off), late = try load.run(.reactive), early = try load.run(.predictive)
        print("overloaded: never moved \(stays.overloaded), by the latest interval \(late.overloaded), by forecast \(early.overloaded)")
        #expect(stays.requests == late.requests && late.requests == early.requests)
        #expect(stays.status.movesOut == 0 && late.overloaded < stays.overloaded)
        #expect(early.overloaded < late.overloaded)
        #expect(late.status.ahead == 0 && early.status.ahead > 0 && early.status.lead > 0)
        #expect(early.status.movesOut == early.status.movesHome || early.status.movesOut == early.status.movesHome + 1)
    }

    /// One script of requests, good and bad, on the device and on the host: the driver is told the same.
    @Test func aDriverIsToldTheSameAtBothPlaces() throws {
        func told(at place: ComponentPlace) throws -> [[UInt64]] {
            let rig = try MoveRig(firmware: FirmwareRig.read(), seed: 22)
            var disk = BlockDriver(rig.machine, function: MoveRig.function, offset: 64 << 20)
            try rig.startAgent()
            func perform(_ type: UInt32, sector: UInt64, count: Int, fill: UInt8 = 0) throws -> [UInt64] {
                // What the host doesn't serve has brought the component home.
                if (rig.stage.location == 1) != (place == .host) {
                    try #require(rig.ask(for: place) == .ok)
                    for _ in 0..<2_000 where rig.stage.state != 1 || (rig.stage.location == 1) != (place == .host) {
                        try rig.stepAgent()
                        rig.machine.advance(by: 1_000)
                    }
                    try #require((rig.stage.location == 1) == (place == .host))
                }
                for index in 0..<0x4000 { disk.data[index] = fill &+ UInt8(truncatingIfNeeded: index) }
                disk.submit(type: type, sector: sector, count: count)
                for _ in 0..<2_000 where disk.completed != disk.submitted {
                    try rig.stepAgent()
                    rig.machine.advance(by: 1_000)
                }
                try #require(disk.completed == disk.submitted, "type \(type): no answer")
                let contents = disk.data.reduce(0 as UInt64) { ($0 << 7 | $0 >> 57) ^ UInt64($1) }
                return [UInt64(disk.status), UInt64(disk.lastLength), contents]
            }
            let last: UInt64 = rig.machine.readBAR(function: 1, bar: 0, offset: 0x2000, size: 4, origin: 0).value
            return try [
                perform(1, sector: 0, count: 4096, fill: 3), perform(1, sector: 7, count: 512, fill: 77),
                perform(0, sector: 0, count: 8192), perform(0, sector: 7, count: 512), perform(4, sector: 0, count: 512), perform(1, sector: last - 1, count: 512, fill: 5),
                perform(0, sector: last - 1, count: 512),
                // Beyond the end, in part and as a whole; not a sector's multiple; the device's name; a type that there isn't. Flushes
                // weren't agreed on.
                perform(0, sector: last - 1, count: 1024), perform(1, sector: last, count: 512), perform(0, sector: .max, count: 512),
                perform(0, sector: 0, count: 100), perform(1, sector: 0, count: 700), perform(8, sector: 0, count: 20),
                perform(99, sector: 0, count: 512), perform(0, sector: 0, count: 4096),
            ]
        }
        let device = try told(at: .device), host = try told(at: .host)
        #expect(device == host)
        #expect(device.map { $0[0] } == [0, 0, 0, 0, 2, 0, 0, 1, 1, 1, 1, 1, 0, 2, 0])
    }
}
