import Interconnect
import Peripherals
import Simulation

/// Tells several observers of DMA, in their order.
final class DMAFanOut: DMAObserver {
    private let observers: [any DMAObserver]
    init(_ observers: [any DMAObserver]) { self.observers = observers }

    func memoryWritten(owner: Owner, address: UInt64, bytes: Int, at cycle: Cycle) {
        for observer in observers { observer.memoryWritten(owner: owner, address: address, bytes: bytes, at: cycle) }
    }
}

/// Passes what the memory controller reports to SYSCTL, and takes the harts off the direct way while errors are planted.
final class MemoryErrorRelay: MemoryErrorSink {
    private let next: any MemoryErrorSink
    private let setDirectAccess: (Bool) -> Void

    init(_ next: any MemoryErrorSink, setDirectAccess: @escaping (Bool) -> Void) {
        self.next = next
        self.setDirectAccess = setDirectAccess
    }

    func memoryErrorMet(_ error: MemoryError) { next.memoryErrorMet(error) }

    func plantedErrorsChanged(to count: Int) {
        setDirectAccess(count == 0)
        next.plantedErrorsChanged(to: count)
    }
}
