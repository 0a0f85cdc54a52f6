import RISCV
import Simulation

/// FNV-1a (Fowler, Noll, Vo) over 64-bit words.
struct StateHash {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ word: UInt64) { value = (value ^ word) &* 0x100_0000_01b3 }
    mutating func add(_ text: String) {
        for byte in text.utf8 { add(UInt64(byte)) }
    }
}

extension Device {
    /// A hash of what a run soon changes if it parts from another: device time, what is due next, and the harts' registers. Cheap, and
    /// nothing of memory.
    var stateHash: UInt64 {
        var hash = StateHash()
        hash.add(scheduler.now)
        hash.add(scheduler.nextDue)
        for hart in harts {
            hash.add(hart.time)
            hash.add(hart.state.retired)
            hash.add(UInt64(hart.pc))
            for register in 1..<32 { hash.add(UInt64(hart[register: register])) }
        }
        return hash.value
    }
}
