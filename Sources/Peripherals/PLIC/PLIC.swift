import Interconnect
import Registers
import RegisterMaps
import Simulation

/// Gives the blocks' interrupt lines to the harts (RISC-V PLIC 1.0.0): 31 level sources, two contexts.
public final class PlatformInterruptController: BusTarget, RegisterModel, WireSink, ArchivedModel {
    public static let contexts = 2

    public struct State: Sendable {
        /// By source number: the line's level.
        var lines: UInt32 = 0
        /// By source number: the gateway has passed on a request that is not completed, so it passes on no other.
        var underWay: UInt32 = 0
        /// By context: the level of its interrupt.
        var outputs: UInt32 = 0
    }

    public let registers: RegisterBlock
    // Nothing that `update()` calls comes back here: no access to it is inside another.
    @exclusivity(unchecked) public var state = State()
    /// By context: the external interrupt (MEIP) of a hart.
    public let interrupts: [Wire]
    /// While somebody records.
    public unowned(unsafe) var trace: (any TraceSink)?

    public init(number: Int = 0) {
        registers = RegisterBlock(PLIC.map, number: number)
        interrupts = (0..<Self.contexts).map { Wire("plic.meip\($0)") }
    }

    public func access(_ access: inout BusAccess) -> BusStatus { registers.access(&access, model: self) }
    public func peek(_ address: UInt64, size: Int) -> UInt64? { registers.peek(address, size: size) }

    /// A firmware reset: everything off; lines that are high pend again once they are enabled.
    public func reset() {
        registers.reset(.hard)
        state.underWay = 0
        update()
    }

    public func wireChanged(_ input: Int, level: Bool) {
        guard (1..<32).contains(input) else { return }
        trace?.interruptLineChanged(source: input, level: level)
        state.lines = level ? state.lines | 1 << UInt32(input) : state.lines & ~(1 << UInt32(input))
        update()
    }

    public func didRead(_ register: RegisterIndex, _ element: Int, value: UInt64, _ access: BusAccess) {
        guard case PLIC.CONTEXT_CLAIM = register, value != 0 else { return }
        registers[PLIC.PENDING] &= ~(1 << value)
        update()
    }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        if case PLIC.CONTEXT_CLAIM = register {
            // Completion of a source that the context hasn't enabled is ignored (9), and so is one of a source that still pends.
            let source = 1 << new & registers[PLIC.ENABLE, element] & ~registers[PLIC.PENDING]
            state.underWay &= ~UInt32(truncatingIfNeeded: source)
        }
        update()
    }

    /// Gateways, arbitration and outputs.
    private func update() {
        let new = state.lines & ~state.underWay & ~1
        state.underWay |= new
        registers[PLIC.PENDING] |= UInt64(new)
        let pending = registers[PLIC.PENDING]
        for context in 0..<Self.contexts {
            var best: UInt64 = 0
            var bestPriority: UInt64 = 0
            var candidates = pending & registers[PLIC.ENABLE, context]
            while candidates != 0 {
                let source = candidates.trailingZeroBitCount
                candidates &= candidates &- 1
                let priority = registers[PLIC.PRIORITY, source - 1]
                if priority > bestPriority { (best, bestPriority) = (UInt64(source), priority) }
            }
            // The threshold masks the interrupt, not the claim (7, 8).
            registers[PLIC.CONTEXT_CLAIM, context] = best
            let level: UInt32 = bestPriority > registers[PLIC.CONTEXT_THRESHOLD, context] ? 1 : 0
            if level != state.outputs >> UInt32(context) & 1 {
                state.outputs ^= 1 << UInt32(context)
                interrupts[context].drive(level != 0)
            }
        }
    }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("plic") { (archive, _) throws(SnapshotError) in
            try registers.archive(&archive)
            try archive.integer(&state.lines)
            try archive.integer(&state.underWay)
            // There is no source 0.
            try archive.require((state.lines | state.underWay) & 1 == 0, "expected sources from 1 on, found source 0")
            try archive.integer(&state.outputs, in: 0...(1 << UInt32(Self.contexts)) - 1)
            for wire in interrupts { try wire.archive(&archive) }
        }
    }
}
