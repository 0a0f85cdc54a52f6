import AdminProtocol
import Interconnect
import OffloadDevice
import RegisterMaps
import Testing

/// What the firmware allocates, on the whole device, with the traffic of virtual machines and of the host.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct AllocationTests {
    /// A device with firmware and drivers that keep requests in flight, and an observer of the partition table.
    final class Bench {
        let rig: FirmwareRig
        var drivers: [Int: BlockDriver] = [:]
        /// Requests that each owner keeps in flight, and their bytes; 1: writes.
        var load: [Int: (depth: Int, bytes: Int, type: UInt32)] = [:]
        let capacity: [Int]

        /// - Parameter owners: 0 is the host, whose disk is physical function 1.
        init(_ description: MachineDescription, owners: [Int]) throws {
            rig = try FirmwareRig(description)
            rig.bringUp()
            capacity = [1000, description.service.cores - 1, 80, description.accelerators.gpu, description.accelerators.fpga]
            // Windows as short as may be, a decision every other one.
            var window = FeatureValue()
            (window.feature, window.value) = (Feature.samplingWindow.rawValue, 50_000)
            #expect(rig.send(AdminCommand(.setFeature), FirmwareRig.bytes(window)).status == 0)
            var parameters = PolicyParameters()
            (parameters.periodWindows, parameters.idleWindows) = (2, 20)
            #expect(rig.send(AdminCommand(.setPolicy), FirmwareRig.bytes(parameters)).status == 0)
            for owner in owners {
                drivers[owner] = owner == 0
                    ? BlockDriver(rig.machine, function: 65, bar: 4, offset: 0)
                    : BlockDriver(rig.machine, function: owner, offset: owner << 24)
            }
        }

        /// Lets time pass in steps of a window, and looks at the table at each.
        func run(_ steps: Int) {
            for _ in 0..<steps {
                for owner in load.keys.sorted() where drivers[owner]!.completed == drivers[owner]!.submitted {
                    let (depth, bytes, type) = load[owner]!
                    for number in 0..<depth { drivers[owner]!.submit(type: type, sector: UInt64(number) << 11, count: bytes) }
                }
                rig.machine.advance(by: 50_000)
                let sums = table.reduce([0, 0, 0, 0, 0]) { zip($0, $1).map(+) }
                #expect(zip(sums, capacity).allSatisfy { $0 <= $1 }, "\(sums) of \(capacity)")
            }
        }

        /// What every owner has: link, cores, memory blocks, GPU and FPGA slots.
        var table: [[Int]] {
            rig.machine.inspect { device in
                let registers = device.resourceManager.registers
                var table = (0..<65).map { owner in
                    let slots = registers[RM.ACTIVE_SLOTS, owner]
                    return [
                        Int(registers[RM.ACTIVE_BANDWIDTH.guarantee, owner]), Int(slots & 0xff), 0, Int(slots >> 8 & 0xff),
                        Int(slots >> 16 & 0xff),
                    ]
                }
                for region in 0..<128 {
                    let value = registers[RM.ACTIVE_REGION, region], owner = Int(value & 0xff)
                    if value >> 20 != 0, owner < 65 { table[owner][2] += Int(value >> 20) }
                }
                return table
            }
        }

        func column(_ resource: Int, _ owners: [Int]) -> [Int] { owners.map { table[$0][resource] } }
    }

    /// Processing, memory and I/O are short in turn, and each goes to whoever needs it.
    @Test func eachResourceIsShiftedWhileItIsShort() throws {
        var description = MachineDescription()
        (description.service.cores, description.service.cost) = (4, 40_000)
        description.medium.bandwidth = 16_000_000_000
        let bench = try Bench(description, owners: [1, 2])
        // Processing: small requests on slow cores.
        bench.load = [1: (7, 512, 0), 2: (1, 512, 0)]
        bench.run(400)
        let cores = bench.column(1, [1, 2])
        bench.load = [1: (1, 512, 0), 2: (7, 512, 0)]
        bench.run(600)
        let shifted = bench.column(1, [1, 2])
        print("cores: \(cores), then \(shifted)")
        #expect(cores[0] > cores[1] && shifted[1] > shifted[0])
        // Memory: 7 MiB in flight of the 5 MiB that there are to divide.
        bench.load = [1: (7, 1 << 20, 0), 2: (1, 1 << 20, 0)]
        bench.run(700)
        let memory = bench.column(2, [1, 2])
        bench.load = [1: (1, 1 << 20, 0), 2: (7, 1 << 20, 0)]
        bench.run(1000)
        let moved = bench.column(2, [1, 2])
        print("memory blocks: \(memory), then \(moved)")
        #expect(memory[0] > memory[1] && moved[1] > moved[0])
        // I/O: the link.
        bench.load = [1: (7, 1 << 16, 0), 2: (1, 4096, 0)]
        bench.run(400)
        let link = bench.column(0, [1, 2])
        bench.load = [1: (1, 4096, 0), 2: (7, 1 << 16, 0)]
        bench.run(600)
        let swapped = bench.column(0, [1, 2])
        print("link: \(link), then \(swapped)")
        #expect(link[0] > 2 * link[1] && swapped[1] > 2 * swapped[0])
    }

    /// Whom a policy prefers the link prefers, by the registers of the Resource Manager; the host's weight for it stays what it is.
    @Test func aPolicysWeightsAreTheLinks() throws {
        let bench = try Bench(MachineDescription(), owners: [1, 2])
        let vm1 = { (opcode: AdminOpcode) in AdminCommand(opcode, group: .virtualFunction, member: 1) }
        var allocation = Allocation()
        allocation.weight = 3
        #expect(bench.rig.send(vm1(.setAllocation), FirmwareRig.bytes(allocation)).status == 0)
        bench.load = [1: (1, 4096, 0), 2: (7, 1 << 18, 0)]
        func run(_ policy: UInt32) -> (boosts: [UInt64], weights: [UInt64]) {
            var parameters = PolicyParameters()
            (parameters.policy, parameters.periodWindows, parameters.idleWindows) = (policy, 2, 20)
            #expect(bench.rig.send(AdminCommand(.setPolicy), FirmwareRig.bytes(parameters)).status == 0)
            bench.run(40)
            return bench.rig.machine.inspect { device in
                let registers = device.resourceManager.registers, links = device.fabric.registers
                for owner in [1, 2] {
                    #expect(links[FABRIC.FLOW_GRANT, owner] == registers[RM.ACTIVE_BANDWIDTH, owner], "the links obey")
                }
                return ([1, 2].map { registers[RM.ACTIVE_BANDWIDTH.boost, $0] }, [1, 2].map { registers[RM.ACTIVE_BANDWIDTH.weight, $0] })
            }
        }
        #expect(run(PolicyNumber.fair) == ([0, 0], [3, 1]))
        #expect(run(PolicyNumber.latencyFirst) == ([4, 0], [3, 1]))
        #expect(run(PolicyNumber.throughputFirst) == ([0, 3], [3, 1]))
        bench.rig.send(vm1(.getAllocation))
        #expect(bench.rig.result(Allocation.self).weight == 3)
        // Who is no longer there isn't preferred, either.
        bench.load = [:]
        bench.run(60)
        #expect(run(PolicyNumber.throughputFirst) == ([0, 0], [3, 1]))
    }

    /// The host's own disk is overloaded: cores go to the host, and come back when that is over.
    @Test func anOverloadedHostBorrowsCores() throws {
        var description = MachineDescription()
        (description.service.cores, description.service.cost) = (5, 20_000)
        description.physicalFunctions = [.init(number: 1)]
        let bench = try Bench(description, owners: [0, 1, 2])
        bench.load = [1: (4, 512, 0), 2: (4, 512, 0)]
        bench.run(400)
        let before = bench.column(1, [0, 1, 2])
        bench.load[0] = (7, 512, 0)
        bench.run(500)
        let during = bench.column(1, [0, 1, 2])
        bench.load[0] = nil
        bench.run(800)
        let after = bench.column(1, [0, 1, 2])
        print("cores of host and two virtual machines: \(before), overloaded \(during), after that \(after)")
        #expect(before[0] == 0 && during[0] > 0 && after == before)
        #expect(during[1...].reduce(0, +) < before[1...].reduce(0, +))
    }

    /// Two types of accelerators, each with two users that could use all of it: equal dominant shares, and nobody gets more than its slots.
    @Test func acceleratorSlotsAreDividedAndLimit() throws {
        var description = MachineDescription()
        (description.accelerators.gpu, description.accelerators.fpga) = (5, 9)
        description.accelerators.fpgaLoading = 100_000
        description.link.bandwidth = 16_000_000_000
        description.medium.bandwidth = 16_000_000_000
        for number in 1...4 {
            var disk = description.virtualFunctions.disk
            disk.transform = number <= 2 ? .gpu : .fpga
            disk.transformCost = number <= 2 ? 100_000 : 150_000
            description.virtualFunctions.disks[number] = disk
        }
        let bench = try Bench(description, owners: [1, 2, 3, 4])
        for owner in 1...4 { bench.load[owner] = (7, 8192, owner % 2 == 0 ? 1 : 0) }
        bench.run(900)
        let gpu = bench.column(3, [1, 2, 3, 4]), fpga = bench.column(4, [1, 2, 3, 4])
        print("GPU slots \(gpu), FPGA slots \(fpga)")
        let shares = [Double(gpu[0]) / 4, Double(gpu[1]) / 4, Double(fpga[2]) / 8, Double(fpga[3]) / 8]
        #expect(shares.max()! - shares.min()! <= 0.05 && shares.min()! > 0, "\(shares)")
        #expect(gpu[2...] == [0, 0] && fpga[...1] == [0, 0])
        func use() -> [Double] {
            bench.rig.machine.inspect { device in
                (1...4).map { owner in
                    Double((owner <= 2 ? device.gpu : device.fpga)!.busyCycles(of: .virtualMachine(owner)))
                }
            }
        }
        let before = use(), start = bench.rig.machine.inspect { $0.scheduler.now }
        bench.run(200)
        let elapsed = Double(bench.rig.machine.inspect { $0.scheduler.now } - start)
        for (owner, (now, then)) in zip(use(), before).enumerated() {
            let slots = Double(owner < 2 ? gpu[owner] : fpga[owner])
            #expect((now - then) / elapsed <= slots * 1.02, "vm\(owner + 1): \((now - then) / elapsed) of \(slots) slots")
        }
    }

    /// Memory that is promised comes clear, keeps others out, and limits what is in flight.
    @Test func promisedMemoryIsTheOwnersAlone() throws {
        let bench = try Bench(MachineDescription(), owners: [1])
        let place: UInt64 = 0x20_0000
        bench.rig.put(Int(place), UInt32(0x1234_5678))
        var terms = ServiceTerms()
        (terms.leastMemoryBlocks, terms.latencyMicroseconds) = (4, 250)
        let command = AdminCommand(.setTerms, group: .virtualFunction, member: 1)
        #expect(bench.rig.send(command, FirmwareRig.bytes(terms)).status == 0)
        terms.leastMemoryBlocks = 81
        #expect(bench.rig.send(command, FirmwareRig.bytes(terms)) == AdminResult(.noSpace, .field))
        bench.load[1] = (7, 1 << 16, 0)
        bench.run(60)
        #expect(bench.table[1][2] == 4)
        bench.rig.machine.inspect { device in
            let region = device.resourceManager.registers[RM.ACTIVE_REGION, 1]
            #expect(region >> 8 & 0xfff == 32, "the first block that isn't the host's rings'")
            #expect(device.resourceManager.registers[RM.FLOOR, 1] >> 20 == 4)
            #expect(device.buffers.used(by: .virtualMachine(1)) <= 4 << 16)
        }
        #expect(bench.rig.get(Int(place), UInt32.self) == 0)
        let denied = bench.rig.machine.readBAR(function: 0, bar: 2, offset: place, size: 4, origin: 1)
        #expect(denied.1 == .denied)
        bench.rig.send(AdminCommand(.getTerms, group: .virtualFunction, member: 1))
        let found = bench.rig.result(ServiceTerms.self)
        #expect(found.leastMemoryBlocks == 4 && found.latencyMicroseconds == 250)
    }
}
