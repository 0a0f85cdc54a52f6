import AdminProtocol
import Interconnect
import OffloadDevice
import Simulation
import Testing

/// What holds whatever owners do.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct GrantTests {
    private typealias Bench = AllocationTests.Bench

    private func allocate(_ bench: Bench, _ owner: Int, _ change: (inout Allocation) -> Void) {
        var allocation = Allocation()
        allocation.flags = Allocation.pinned
        change(&allocation)
        let command = AdminCommand(.setAllocation, group: .virtualFunction, member: UInt64(owner))
        #expect(bench.rig.send(command, FirmwareRig.bytes(allocation)).status == 0)
    }

    /// What owner 1 sends: large requests for the link, small ones for the service cores.
    enum Attack: CaseIterable {
        case large, small
        var sizes: [Int] { self == .large ? [65536, 40 << 10, 100 << 10] : [512, 1024, 4096] }
    }

    /// One owner asks for all it can, with requests of any size and doorbells for nothing; it never gets 2 % more than its grant, of the
    /// link in either direction, of the service cores, or of memory, and its neighbour gets what is promised to him.
    @Test(arguments: [1, 2, 3] as [UInt64], Attack.allCases) func nobodyExceedsItsGrant(seed: UInt64, attack: Attack) throws {
        var description = MachineDescription()
        (description.service.cores, description.service.cost) = (4, 20_000)
        let bench = try Bench(description, owners: [1, 2])
        var parameters = PolicyParameters()
        parameters.policy = PolicyNumber.fixed
        #expect(bench.rig.send(AdminCommand(.setPolicy), FirmwareRig.bytes(parameters)).status == 0)
        allocate(bench, 1) { ($0.guaranteePermille, $0.limit, $0.serviceCores, $0.firstMemoryBlock, $0.memoryBlocks) = (50, 100, 1, 40, 2) }
        allocate(bench, 2) { ($0.guaranteePermille, $0.serviceCores) = (700, 2) }
        var random = SplitMix64(seed: seed)
        let machine = bench.rig.machine
        func used() -> (toHost: UInt64, fromHost: UInt64, cores: UInt64, neighbour: UInt64) {
            machine.inspect { device in
                let owner = Owner.virtualMachine(1), other = Owner.virtualMachine(2)
                return (
                    device.toHost.bytes(of: owner), device.fromHost.bytes(of: owner), device.cores.busyCycles(of: owner),
                    device.toHost.bytes(of: other))
            }
        }
        var attacker = try #require(bench.drivers[1]), neighbour = try #require(bench.drivers[2])
        var mostMemory: UInt64 = 0
        func carryOn(_ cycles: UInt64) {
            let end = machine.now + cycles
            while machine.now < end {
                while attacker.submitted &- attacker.completed < 7 {
                    attacker.submit(
                        type: UInt32(random.next() & 1), sector: random.next() % 1000 * 8, count: attack.sizes[Int(random.next() % 3)],
                        queue: random.next() % 3)
                }
                while neighbour.submitted &- neighbour.completed < 7 { neighbour.submit(type: 0, sector: 0, count: 1 << 17) }
                for _ in 0..<4 { machine.write(1, 0, 0x3000, random.next() % 4, 2) }
                machine.advance(by: 5_000)
                mostMemory = max(mostMemory, machine.inspect { $0.buffers.used(by: .virtualMachine(1)) })
            }
        }
        carryOn(5_000_000)
        let (before, start) = (used(), machine.now)
        carryOn(40_000_000)
        let (after, elapsed) = (used(), Double(machine.now - start))
        let toHost = Double(after.toHost - before.toHost) * 1000 / elapsed
        let fromHost = Double(after.fromHost - before.fromHost) * 1000 / elapsed
        let cores = Double(after.cores - before.cores) / elapsed
        let promised = Double(after.neighbour - before.neighbour) * 1000 / elapsed
        print("seed \(seed), \(attack): \(toHost) and \(fromHost) of 100 B/us, \(cores) of 1 core, \(mostMemory) of 131072 bytes;",
              "the neighbour \(promised) of 700 B/us")
        #expect(toHost <= 102 && fromHost <= 102 && cores <= 1.02 && mostMemory <= 2 << 16)
        #expect(max((toHost + fromHost) / 100, cores) >= 0.9, "it does use what it has")
        #expect(promised >= 700 * 0.98)
    }

    /// A request that doesn't fit into its owner's memory waits for those before it, through resets; one that never fits goes alone.
    @Test func whatDoesntFitWaits() throws {
        let bench = try Bench(MachineDescription(), owners: [1])
        let machine = bench.rig.machine
        allocate(bench, 1) { ($0.firstMemoryBlock, $0.memoryBlocks) = (40, 2) }
        // Memory that changes hands is cleared first.
        machine.advance(by: 20_000)
        var driver = try #require(bench.drivers[1])
        func used() -> UInt64 { machine.inspect { $0.buffers.used(by: .virtualMachine(1)) } }
        for round in 0..<3 {
            for _ in 0..<3 { driver.submit(type: 0, sector: 0, count: 100 << 10) }
            #expect(used() == 100 << 10, "the second waits, and the third behind it")
            if round < 2 {
                machine.advance(by: UInt64(round) * 20_000)
                driver = BlockDriver(machine, function: 1, offset: 1 << 24)
                #expect(used() == 0, "after a reset nothing is in flight")
                continue
            }
            for _ in 0..<300 where driver.completed < 3 {
                machine.advance(by: 2_000)
                #expect(used() <= 2 << 16)
            }
            #expect(driver.completed == 3 && driver.status == 0 && used() == 0)
        }
        #expect(driver.request(type: 0, sector: 0, count: 1 << 20) == 0)
        #expect(used() == 0)
        // What moves no data takes no memory: a read beyond the medium's end.
        driver.submit(type: 0, sector: 1 << 50, count: 1 << 20)
        #expect(used() == 0 && driver.completed == 4)
        #expect(machine.run { driver.completed == 5 } && driver.status == 1)
    }
}
