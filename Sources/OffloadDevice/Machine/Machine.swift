import Glibc
import PCIExpress
import Peripherals
import Registers
import RISCV
import Simulation
import Synchronization
import Tracing

/// A device that many threads use: one lock, a pace, and a thread of its own that carries time on.
///
/// Whoever accesses the device does so itself, under the lock. What is called back (interrupts, console) is called under the lock too, by
/// whichever thread it happens on: it must not call the machine.
public final class Machine: @unchecked Sendable {
    // Sendable: `device` and the mutable properties below are touched under `lock` alone.

    /// What device time follows.
    public enum Pace: Hashable, Sendable {
        /// The wall clock, `ratio` times as fast; asleep while idle.
        case realtime(ratio: Double)
        /// Nothing: as fast as possible while there is work, at rest otherwise.
        case max
        /// Host accesses, by what they cost, and explicit advances. Two runs of one script are the same bit for bit.
        case lockstep
    }

    public let description: MachineDescription
    public let pace: Pace
    /// Shared memory (BAR2) and host memory: other programs may map their descriptors.
    public var sharedMemory: MemoryPages { device.shared.pages }
    public var hostMemory: MemoryPages { device.hostMemory }
    /// Where every function's DMA finds the first byte of host memory.
    public var hostMemoryAddress: UInt64 { locked { $0.hostMemoryAddress } }

    let device: Device
    private let networks: HostNetworks
    let lock = MachineLock()
    /// Takes all inputs while a recording runs.
    var journal: JournalWriter?
    var journalFlusher: JournalFlusher?
    /// Those who may write to shared memory without an access.
    var unseenWriters = 0
    /// The trace that began with the recording.
    var recordedTrace: TraceWriter?
    /// Host memory as the device knows it, while a recording runs.
    var hostMemoryImage: MemoryPages?
    /// What the host has done; no part of the device.
    var accessCounts = HostAccessCounts()
    var clock: PaceClock
    private var console: ConsoleRelay
    private var thread: pthread_t?
    var isStopping = false
    /// The wall time until which the machine's thread sleeps; 0 while it runs.
    var sleepsUntil: UInt64 = 0
    /// The last access left the device something to do; for a look without the lock.
    let hasWork = Atomic<Bool>(false)

    /// Makes a machine at rest: ``start()`` sets it going.
    public init(_ description: MachineDescription, pace: Pace) throws(MachineError) {
        self.description = description
        self.pace = pace
        device = try Device(description)
        networks = try HostNetworks(of: device)
        clock = PaceClock(pace, frequency: description.clockHertz)
        console = ConsoleRelay()
        device.uart.console = console
    }

    deinit {
        stop()
        journalFlusher?.stop()
    }

    /// Starts the machine's thread. In lockstep there is none: time moves with whoever moves it.
    public func start() {
        networks.start(self)
        guard pace != .lockstep else { return }
        locked { _ in
            guard thread == nil else { return }
            isStopping = false
            clock.anchor(at: device.scheduler.now)
            var identity = pthread_t()
            // The thread is joined in stop(), before the machine can go.
            let status = pthread_create(&identity, nil, { context in
                Unmanaged<Machine>.fromOpaque(context!).takeUnretainedValue().runThread()
                return nil
            }, Unmanaged.passUnretained(self).toOpaque())
            if status == 0 { thread = identity }
        }
    }

    /// Stops the machine's thread and writes out trace and journal. The device stays as it is: a look at it doesn't carry it on.
    public func stop() {
        networks.stop()
        lock.lock()
        isStopping = true
        let running = thread
        thread = nil
        lock.signal()
        lock.unlock()
        if let running { pthread_join(running, nil) }
        locked {
            isStopping = false
            clock.stop()
            $0.recorder.writer?.flush()
            journal?.flush()
        }
    }

    /// Looks at the device under the lock, at the present time of the pace. What is looked at must not be changed, nor used after that:
    /// ``perform(_:)`` changes the device.
    public func inspect<Result, Failure: Error>(_ body: (Device) throws(Failure) -> Result) throws(Failure) -> Result {
        lock.lock()
        defer { lock.unlock() }
        catchUp()
        defer { settle() }
        return try body(device)
    }

    /// Looks at the device without letting time pass.
    func locked<Result, Failure: Error>(_ body: (Device) throws(Failure) -> Result) throws(Failure) -> Result {
        lock.lock()
        defer { lock.unlock() }
        return try body(device)
    }

    // MARK: Who is told

    /// Is told of every interrupt that reaches the host: the function's index, and the MSI-X vector or nil for INTx.
    public func onInterrupt(_ handler: @escaping @Sendable (_ function: Int, _ vector: Int?) -> Void) {
        locked { $0.interrupts.handler = handler }
    }

    /// Is given every byte that the firmware prints.
    public func onConsoleOutput(_ handler: @escaping @Sendable (UInt8) -> Void) {
        locked { _ in console.handler = handler }
    }

    /// Is given what the driver of a console writes.
    public func onConsoleOutput(function: Int, _ handler: @escaping @Sendable ([UInt8]) -> Void) {
        locked { $0.virtioFunction(function)?.console?.onOutput = { handler(Array($0)) } }
    }

    /// Has a function's DMA reach the memory of the process that drives it. The machine doesn't keep `client`, and asks it under the lock.
    public func connect(_ client: any ClientMemory, function: Int) {
        locked { $0.hierarchy.function(function)?.domain?.client = client }
    }

    // MARK: Tracing

    /// Records all that happens from now on, or a selection of it. A trace or a digest that goes on ends.
    /// - Parameters:
    ///   - folder: see ``TraceWriter``; nil for the hash of the trace alone.
    ///   - records: the names of the firmware's kinds of records, by number.
    public func startTrace(
        folder: String?, records: [String] = [], _ selection: TraceSelection = TraceSelection()
    ) throws(TraceError) {
        var names = TraceNames.device
        names.records = records
        let writer = try TraceWriter(folder: folder, names: names, frequency: description.clockHertz, selection: selection)
        stopTrace()
        locked { $0.recorder.writer = writer }
    }

    /// Ends the trace.
    /// - Returns: what it came to; nil if there was none.
    @discardableResult
    public func stopTrace() -> TraceWriter.Totals? {
        locked { device in
            defer { device.recorder.writer = nil }
            return device.recorder.writer?.finish()
        }
    }

    /// Begins a hash over all events from now on, anew if one goes on. A trace that goes on has one of its own already.
    public func startDigest() {
        locked {
            // Without a folder there is nothing that could fail but the system's last thread.
            guard $0.recorder.writer?.folder == nil else { return }
            $0.recorder.writer?.finish()
            $0.recorder.writer = try? TraceWriter(folder: nil, names: .device, frequency: description.clockHertz)
        }
    }

    /// The hash over all events since ``startDigest()`` or ``startTrace(folder:_:)``; nil without. Equal hashes: equal runs.
    public var digest: UInt64? { locked { $0.recorder.writer?.totals.hash } }

    /// Gives every event from now on to `listener`, under the lock; nil ends that.
    public func onEvent(_ listener: (@Sendable (TraceEvent) -> Void)?) {
        locked { $0.recorder.listener = listener }
    }

    /// Passes console bytes on.
    private final class ConsoleRelay: ConsoleSink {
        var handler: (@Sendable (UInt8) -> Void)?
        func consoleOutput(_ byte: UInt8) { handler?(byte) }
    }
}
