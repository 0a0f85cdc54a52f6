import OffloadDevice
import Simulation
import Testing

/// What a host does to a machine, at random: the scripted side of the snapshot tests. A value, so that it can go back with the machine.
struct HostLoad {
    var random: SplitMix64
    private var drivers: [BlockDriver]

    /// Brings up the block devices.
    /// - Parameter memory: offset of the drivers' part of host memory.
    init(_ machine: Machine, functions: ClosedRange<Int>, seed: UInt64) {
        random = SplitMix64(seed: seed)
        drivers = functions.map { BlockDriver(machine, function: $0, offset: ($0 - functions.lowerBound) << 16) }
    }

    /// Requests that the device has taken and not answered.
    var inFlight: Int { drivers.count { $0.completed != $0.submitted } }

    /// The same host, at another machine in the same state.
    func moved(to machine: Machine) -> HostLoad {
        var copy = self
        for index in copy.drivers.indices { copy.drivers[index].machine = machine }
        return copy
    }

    /// Requests, accesses, console input, memory errors and time.
    mutating func step(_ machine: Machine) throws {
        switch Int.random(in: 0..<9, using: &random) {
        case 0...2:
            let index = Int.random(in: 0..<drivers.count, using: &random)
            guard drivers[index].completed == drivers[index].submitted else { return }
            let count = 512 * Int.random(in: 1...16, using: &random)
            for place in stride(from: 0, to: count, by: 8) {
                drivers[index].data.storeBytes(of: random.next(), toByteOffset: place, as: UInt64.self)
            }
            drivers[index].submit(
                type: UInt32.random(in: 0...1, using: &random), sector: UInt64.random(in: 0...1000, using: &random), count: count)
        // Refused by a hostile snapshot's device.
        case 3:
            let place = 0x10_0000 + 4 * .random(in: 0...7, using: &random) as UInt64
            _ = machine.writeBAR(function: 0, bar: 2, offset: place, size: 4, value: .random(in: 0...0xffff, using: &random), origin: 4711)
        case 4: _ = machine.readBAR(function: 0, bar: 0, offset: try hostOffset("HOSTIF.TIME"), size: 8, origin: 4711)
        case 5: _ = machine.typeAtConsole([UInt8.random(in: 32...126, using: &random)])
        case 6: try machine.injectMemoryError(at: 0x8030_0000 + 4 * .random(in: 0...7, using: &random), isCorrectable: true)
        default: machine.advance(by: .random(in: 1...3000, using: &random))
        }
    }
}

/// What a device does from some moment on.
struct Course: Equatable {
    var digest: UInt64?
    var models: UInt32
    var position: Position
    var memory: UInt32

    /// Lets a host do its part for so many steps.
    init(of machine: Machine, _ load: inout HostLoad, steps: Int) throws {
        machine.startDigest()
        for _ in 0..<steps { try load.step(machine) }
        digest = machine.digest
        let snapshot = machine.capture()
        models = snapshot.digest
        position = machine.inspect { $0.position }
        memory = CRC32C.of(snapshot.bytes)
    }
}

extension TestProgram {
    /// Both harts work: hart 0 prints and looks at what hart 1 does, which sleeps between its timer's ticks.
    static func bothHarts() throws -> TestProgram {
        var program = TestProgram()
        let secondStart = program.here + 0x200
        program.poke(try OffloadDeviceTests.address("SYSCTL.HART[1].BOOT_ADDRESS"), secondStart)
        program.poke(try OffloadDeviceTests.address("SYSCTL.HART[1].CTRL"), 3)
        program.load(.s0, 0x4000_0000)
        program.load(.s1, UInt32(try OffloadDeviceTests.address("ACLINT.MTIME")))
        program.load(.a3, UInt32(try OffloadDeviceTests.address("UART.DATA")))
        let first = program.here
        program.read(.a0, .s0, 64)
        program.read(.a1, .s1)
        program.sum(.a0, .a0, .a1)
        program.write(.a0, .s0)
        program.write(.a0, .a3)
        // A word with planted errors.
        program.load(.a4, 0x8030_0000)
        program.read(.a2, .a4)
        program.jump(to: first)
        while program.here < secondStart { program.add(.zero, .zero, 0) }
        program.load(.s0, 0x4000_0000)
        program.load(.s1, UInt32(try OffloadDeviceTests.address("ACLINT.MTIME")))
        program.load(.a3, UInt32(try OffloadDeviceTests.address("ACLINT.MTIMECMP[1]")))
        // The timer's interrupt ends a wait, but is not taken.
        program.load(.t0, 1 << 7)
        program.writeCSR(0x304, .t0)
        program.write(.zero, .a3, 4)
        let second = program.here
        program.read(.a0, .s1)
        program.add(.a1, .a0, 700)
        program.write(.a1, .a3)
        program.wait()
        program.read(.a2, .s0)
        program.sum(.a0, .a0, .a2)
        program.write(.a0, .s0, 64)
        program.jump(to: second)
        return program
    }
}
