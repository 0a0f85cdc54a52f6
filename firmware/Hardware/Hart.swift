// The hart's own registers and instructions. Like Volatile.swift, the one other file that is not the same on the device and in a unit
// test: a test has no hart, so that its time is the fake device's and the rest does nothing.

#if hasFeature(Embedded)
import Runtime

public enum Hart {
    /// mcycle, low half.
    @inline(__always) public static var cycle: UInt32 { runtime_cycle_low() }
    /// mip.MTIP: the timer has run out.
    @inline(__always) public static var timerPending: Bool { runtime_interrupts_pending() & 1 << 7 != 0 }

    /// Sets mie: which interrupts end `waitForInterrupt`, and are taken while `interruptsOn`.
    @inline(__always) public static func enableInterrupts(external: Bool, timer: Bool) {
        runtime_set_interrupts_enabled((external ? 1 << 11 : 0) | (timer ? 1 << 7 : 0))
    }
    @inline(__always) public static func interruptsOn() { runtime_interrupts_on() }
    @inline(__always) public static func interruptsOff() { runtime_interrupts_off() }
    @inline(__always) public static func waitForInterrupt() { runtime_wait_for_interrupt() }
    /// Memory accesses before come before those after, as seen by everybody.
    @inline(__always) public static func fence() { runtime_fence() }

    /// Sets the address of one PMP entry, in units of 4 bytes.
    public static func setProtectionAddress(_ index: Int, _ value: UInt32) { runtime_set_pmpaddr(UInt32(truncatingIfNeeded: index), value) }
    /// Sets the configurations of all 16 PMP entries, four to a word.
    public static func setProtection(_ words: InlineArray<4, UInt32>) {
        runtime_set_pmpcfg0(words[0])
        runtime_set_pmpcfg1(words[1])
        runtime_set_pmpcfg2(words[2])
        runtime_set_pmpcfg3(words[3])
    }

    /// Ends in the trap handler, with the present program counter.
    public static func stop() -> Never { runtime_break() }
    /// Sleeps until the hart is reset.
    public static func halt() -> Never {
        enableInterrupts(external: false, timer: false)
        while true { waitForInterrupt() }
    }

    /// Keeps the words of the stack from its pointer on, for those who trace a crash back.
    public static func keepFaultStack(from stackPointer: UInt32) { runtime_keep_fault_stack(stackPointer) }

    /// The firmware's memory besides its stack.
    public static var storage: Storage {
        Storage(
            trace: .init(start: runtime_trace(), count: runtime_trace_words),
            counters: .init(start: runtime_counters(), count: runtime_counter_words),
            arena: .init(start: runtime_arena(), count: runtime_arena_bytes),
            kept: .init(start: runtime_kept(), count: runtime_kept_bytes))
    }

    /// Where the linker has put the sections.
    public static var sections: Sections {
        Sections(
            text: runtime_text_start(), textEnd: runtime_text_end(), constantsEnd: runtime_rodata_end(),
            stackGuard: runtime_stack_guard(), stack: runtime_stack_bottom(), end: runtime_sram_end())
    }
}
#else
public enum Hart {
    public static var cycle: UInt32 { FirmwareBus().aclint.mtime.low }
    public static var timerPending: Bool { false }
    public static func enableInterrupts(external: Bool, timer: Bool) {}
    public static func interruptsOn() {}
    public static func interruptsOff() {}
    public static func waitForInterrupt() {}
    public static func fence() {}
    public static func setProtectionAddress(_ index: Int, _ value: UInt32) {}
    public static func setProtection(_ words: InlineArray<4, UInt32>) {}
    public static func stop() -> Never { fatalError("the firmware stopped itself") }
    public static func halt() -> Never { fatalError("the firmware halted the hart") }
    public static var sections: Sections {
        Sections(
            text: 0x8000_0000, textEnd: 0x8001_0000, constantsEnd: 0x8001_1000, stackGuard: 0x8001_4000, stack: 0x8001_5000,
            end: 0x8040_0000)
    }
}
#endif

/// The borders of the firmware's sections in SRAM, ascending: text, constants, data, a guard page, the stack.
public struct Sections: Sendable {
    public var text, textEnd, constantsEnd, stackGuard, stack, end: UInt32

    public init(text: UInt32, textEnd: UInt32, constantsEnd: UInt32, stackGuard: UInt32, stack: UInt32, end: UInt32) {
        self.text = text; self.textEnd = textEnd; self.constantsEnd = constantsEnd
        self.stackGuard = stackGuard; self.stack = stack; self.end = end
    }
}

/// The firmware's memory besides its stack.
public struct Storage {
    /// Survives a restart.
    public var trace: UnsafeMutableBufferPointer<UInt32>
    /// Zero at start, like the arena.
    public var counters: UnsafeMutableBufferPointer<UInt32>
    public var arena: UnsafeMutableRawBufferPointer
    /// Survives a restart.
    public var kept: UnsafeMutableRawBufferPointer

    public init(
        trace: UnsafeMutableBufferPointer<UInt32>, counters: UnsafeMutableBufferPointer<UInt32>, arena: UnsafeMutableRawBufferPointer,
        kept: UnsafeMutableRawBufferPointer
    ) {
        self.trace = trace; self.counters = counters; self.arena = arena; self.kept = kept
    }
}
