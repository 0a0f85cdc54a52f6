// Where the start-up code (firmware/Runtime/start.S) enters Swift. Only the device has such entries.
#if hasFeature(Embedded)
import Hardware

/// The primary hart, with a stack and nothing else.
@c(offload_main) public func offloadMain() -> Never {
    var manager = OffloadManager(Hart.storage)
    while true { manager.step() }
}

/// Where every trap ends, on a stack of its own. The watchdog restarts the firmware.
@c(offload_fault) public func offloadFault(_ frame: UnsafePointer<UInt32>) -> Never {
    let fault = FaultFrame(frame)
    Hart.keepFaultStack(from: fault.x(2))
    let trace = Hart.storage.trace
    TraceRing(trace.baseAddress!, count: trace.count).record(TraceRing.Fault(cause: fault.cause, pc: fault.pc), at: Hart.cycle)
    fault.report(to: FirmwareBus())
    Hart.halt()
}
#endif
