import RISCV
import Simulation

extension Device {
    /// A hash of what a run soon changes if it parts from another: device time, what is due next, and the harts' registers. Cheap, and
    /// nothing of memory.
    var stateHash: UInt64 {
        var hash = FNV1a()
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
