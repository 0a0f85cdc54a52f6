import AdminProtocol
import OffloadDevice
import PCIExpress
import Testing

/// What becomes of allocations when owners come and go, and when a policy makes things worse.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct AllocationChangesTests {
    private typealias Bench = AllocationTests.Bench

    /// Virtual functions go while they are busy, and others come that no allocation knows: the firmware goes on, those that are gone lose
    /// their shares to those that have come.
    @Test func ownersComeAndGo() throws {
        let bench = try Bench(MachineDescription(), owners: [1, 2])
        let machine = bench.rig.machine
        for round in 0..<4 {
            let here = round % 2 == 0 ? [1, 2] : [3, 4], others = round % 2 == 0 ? [3, 4] : [1, 2]
            for owner in here { bench.load[owner] = (7, 1 << 16, 0) }
            bench.run(200)
            #expect(bench.column(0, here).allSatisfy { $0 >= 400 } && bench.column(0, others) == [0, 0], "\(bench.table[...4])")
            bench.load = [:]
            for owner in here { bench.drivers[owner]!.submit(type: 0, sector: 0, count: 1 << 20) }
            machine.advance(by: 100_000)
            #expect(machine.inspect { $0.toHost.transfersInFlight } > 0, "in mid-request")
            try machine.inspect { device throws(VirtualFunctionError) in try device.hierarchy.setVirtualFunctions(0) }
            machine.advance(by: 1_000_000)
            #expect(machine.inspect { $0.toHost.transfersInFlight } == 0)
            try machine.inspect { device throws(VirtualFunctionError) in try device.hierarchy.setVirtualFunctions(4) }
            for owner in others { bench.drivers[owner] = BlockDriver(machine, function: owner, offset: owner << 24) }
            #expect(bench.rig.state == 2 && bench.rig[.fault] & 1 == 0, "\(bench.rig.consoleText)")
        }
    }

    /// A policy that starves the one with small requests is uploaded and selected: what it does is undone, and not done again and again.
    @Test func aBadAllocationIsUndone() throws {
        let bench = try Bench(MachineDescription(), owners: [1, 2])
        let rig = bench.rig
        var window = FeatureValue()
        (window.feature, window.value) = (Feature.samplingWindow.rawValue, 500_000)
        #expect(rig.send(AdminCommand(.setFeature), FirmwareRig.bytes(window)).status == 0)
        var drivers = [try #require(bench.drivers[1]), try #require(bench.drivers[2])]
        /// Eight decisions of two windows are an epoch.
        func run(epochs: Int) {
            for _ in 0..<epochs * 16 * 25 {
                for (index, bytes) in [1 << 14, 1 << 17].enumerated() {
                    while drivers[index].submitted &- drivers[index].completed < 7 {
                        drivers[index].submit(type: 0, sector: 0, count: bytes)
                    }
                }
                rig.machine.advance(by: 20_000)
            }
        }
        run(epochs: 24)
        let before = bench.column(0, [1, 2])
        #expect(before.allSatisfy { $0 > 300 }, "\(before)")
        // claim[BANDWIDTH] is 1 for owner 1, and 950 for everybody else (RFC 9669).
        let program: [UInt8] = [
            0x61, 0x12, 8, 0, 0, 0, 0, 0,  // r2 = context->owner
            0x55, 0x02, 2, 0, 1, 0, 0, 0,  // if r2 != 1 goto +2
            0x62, 0x01, 208, 0, 1, 0, 0, 0,  // context->claim[0] = 1
            0x05, 0x00, 1, 0, 0, 0, 0, 0,  // goto +1
            0x62, 0x01, 208, 0, 0xb6, 3, 0, 0,  // context->claim[0] = 950
            0xb7, 0x00, 0, 0, 0, 0, 0, 0,  // r0 = 0
            0x95, 0x00, 0, 0, 0, 0, 0, 0,  // exit
        ]
        rig.install(program, as: 4, named: "starve")
        #expect(rig.send(AdminCommand(.getPolicy)).status == 0)
        var parameters = rig.result(PolicyParameters.self)
        parameters.policy = 4
        #expect(rig.send(AdminCommand(.setPolicy), FirmwareRig.bytes(parameters)).status == 0)

        _ = rig.takeEvents()
        var undone: [Int] = [], starved = 0
        for epoch in 1...40 {
            run(epochs: 1)
            if bench.column(0, [1])[0] < 50 { starved += 1 }
            undone += rig.takeEvents().filter { $0.kind == DeviceEvent.Kind.changeUndone.rawValue }.map { _ in epoch }
        }
        print("undone in epochs \(undone); owner 1 starved at the end of \(starved) of 40, before it had \(before)")
        #expect(try #require(undone.first) <= 4)
        // It is tried again after 4 epochs, then 8, 16.
        #expect(undone.count <= 5 && starved <= 2 * undone.count + 1)
        #expect(zip(undone, undone.dropFirst()).allSatisfy { $1 - $0 > 4 })
        #expect(try rig.counter(19) == UInt32(undone.count))
    }
}
