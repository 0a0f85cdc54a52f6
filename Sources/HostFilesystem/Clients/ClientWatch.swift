import CClientMemory
import Glibc
import OffloadDevice
import PCIExpress

/// Looks after the memory that clients have lent: a thread that hears of processes that end, and of memory that goes away.
///
/// What of a client's addresses has come to mean other memory is noticed within ``interval``; the device itself asks anew after each reset.
final class ClientWatch: @unchecked Sendable {
    // Sendable: `all` changes under `lock` alone; the rest is set once.

    /// Milliseconds between two looks at memory that is lent.
    private static let interval: Int32 = 100

    private let machine: Machine
    private let event = cclient_make_event()
    private let lock = Lock()
    private var all: [FunctionClients] = []
    private var isStopping = false
    private var thread: pthread_t?

    init(_ machine: Machine) {
        self.machine = machine
    }

    deinit { close(event) }

    /// The clients of a function, who are looked after from now on.
    func clients(of function: Int) -> FunctionClients {
        lock.lock()
        defer { lock.unlock() }
        if let known = all.first(where: { $0.function == function }) { return known }
        let clients = FunctionClients(function: function, event: event)
        all.append(clients)
        machine.connect(clients, function: function)
        if thread == nil { start() }
        return clients
    }

    private func start() {
        var identity = pthread_t()
        // Joined in stop(), before the watch can go.
        let status = pthread_create(&identity, nil, { context in
            Unmanaged<ClientWatch>.fromOpaque(context!).takeUnretainedValue().run()
            return nil
        }, Unmanaged.passUnretained(self).toOpaque())
        if status == 0 { thread = identity }
    }

    /// Ends the thread. The machine is called no more when this returns.
    func stop() {
        lock.lock()
        isStopping = true
        let running = thread
        thread = nil
        lock.unlock()
        cclient_raise(event)
        if let running { pthread_join(running, nil) }
    }

    private func run() {
        while true {
            lock.lock()
            let (stops, all) = (isStopping, all)
            lock.unlock()
            if stops { return }
            look(all)
            var descriptors = ([event] + all.flatMap(\.descriptors)).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            _ = poll(&descriptors, nfds_t(descriptors.count), all.contains(where: \.isLending) ? Self.interval : -1)
            cclient_clear(event)
        }
    }

    /// Has the device drop what isn't a client's any more. Not under the machine's lock.
    func look(_ all: [FunctionClients]) {
        for clients in all where clients.examine() { machine.perform(.dropClientMemory(function: clients.function)) }
    }
}
