import AdminProtocol
import ComponentLoad
import OffloadDevice
import Synchronization
import Testing
import Tracing

/// Accesses of one machine, as a trace would have them.
private final class Accesses: Sendable {
    struct Account {
        var harts = 0, host = 0
        var blocks: Set<Substring> = []
        var strays: [AccessEvent] = []
    }
    private let account = Mutex(Account())
    var seen: Account { account.withLock { $0 } }

    init(of machine: Machine) {
        let names = RegisterCatalogue.device.entries.map(\.name)
        machine.onEvent { [self] event in
            guard case .access(let access) = event else { return }
            account.withLock { account in
                if access.initiator == .hart(0) || access.initiator == .hart(1) { account.harts += 1 } else { account.host += 1 }
                guard access.status == .ok, case .register(let number, _, _) = access.target else { return account.strays.append(access) }
                account.blocks.insert(names[Int(number)].prefix { $0 != "." })
            }
        }
    }
}

/// The firmware talks with the hardware by registers alone, whoever the host is.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct DocumentedAccessTests {
    /// From the boot on, with traffic, commands and decisions.
    @Test func everyAccessHitsADocumentedRegister() throws {
        let rig = try FirmwareRig()
        let accesses = Accesses(of: rig.machine)
        rig.bringUp()
        var drivers = (1...2).map { BlockDriver(rig.machine, function: $0, offset: $0 << 24) }
        for _ in 0..<200 {
            for index in drivers.indices where drivers[index].completed == drivers[index].submitted {
                for _ in 0..<7 { drivers[index].submit(type: 0, sector: 0, count: 8192 << (2 * index)) }
            }
            rig.machine.advance(by: 200_000)
        }
        for opcode in [AdminOpcode.identify, .getStatistics, .getAnalysis, .getPolicy] {
            rig.send(AdminCommand(opcode), opcode == .identify || opcode == .getPolicy ? [] : FirmwareRig.bytes(StatisticsRequest()))
        }
        rig.machine.onEvent(nil)
        let seen = accesses.seen
        #expect(seen.strays.isEmpty, "\(seen.strays.prefix(5))")
        #expect(seen.harts > 5_000 && seen.host > 500, "\(seen.harts) and \(seen.host)")
        let blocks: Set<Substring> = ["UART", "WDT", "SYSCTL", "PLIC", "ACLINT", "WA", "RM", "VIC", "MAILBOX", "HOSTIF", "VIRTIO"]
        #expect(seen.blocks.isSuperset(of: blocks), "\(seen.blocks)")
        #expect(try rig.counter(7) > 0, "decisions that were committed")
    }

    /// While components move between the device and a host agent.
    @Test func movesAreMadeByRegistersToo() throws {
        let rig = try MoveRig(firmware: FirmwareRig.read(), seed: 31)
        let accesses = Accesses(of: rig.machine)
        try rig.startAgent()
        for place in [ComponentPlace.host, .device] {
            try rig.move(to: place)
            for _ in 0..<20 { try rig.turn() }
        }
        rig.machine.onEvent(nil)
        let seen = accesses.seen
        #expect(seen.strays.isEmpty, "\(seen.strays.prefix(5))")
        #expect(seen.blocks.isSuperset(of: ["VIC", "VIC_HOST"]), "\(seen.blocks)")
    }
}
