import AdminProtocol
import CHostRegisters

/// The registers that a host agent serves components with: VIC_HOST (regmaps/vic), by offset.
public protocol ComponentRegisters {
    func read(_ offset: Int) throws(AgentError) -> UInt32
    func write(_ value: UInt32, at offset: Int) throws(AgentError)
}

/// Serves the virtual I/O components that the firmware sends to the host, and gives them back when it asks (docs/component-migration.md).
///
/// It does nothing by itself: ``step()`` does what there is to do. It touches a component's rings only while the device says that the
/// component runs on the host, and never between a `stop` and the next start.
public final class ComponentAgent {
    /// Offsets in VIC_HOST.
    private enum Register {
        static let agent = 0x00, bufferSize = 0x04, bufferLow = 0x08, bufferHigh = 0x0c, attention = 0x10, interrupt = 0x20
        static let status = 0x400, waiting = 0x404, request = 0x408, reply = 0x40c, stride = 0x10
        static let keyLow = 0x900, keyHigh = 0x904, keyStride = 8
    }

    private enum Request: UInt32 { case none = 0, prepare, activate, stop }
    private enum Verdict: UInt32 { case done = 0, refused, release }

    /// VIC's states, as far as they matter here.
    private static let running: UInt32 = 1

    /// A component that is here, or about to be.
    private struct Guest {
        var component: HostedComponent
        /// The number under which it runs here; nil while it doesn't.
        var generation: UInt16?
        /// It can't be served here any more, and waits for the device to take it.
        var goesBack = false
    }

    /// Reasons of a refusal beside ``ComponentImage/Defect``.
    private static let cannotServe: UInt16 = 256

    /// Requests that one step serves of one queue before it looks at the firmware's wishes again.
    public static let requestsPerStep = 16
    public static let bufferBytes = ComponentImage.byteLimit

    private let registers: any ComponentRegisters
    private let memory: DMAMemory
    /// Where images come and go, in `memory`.
    private let buffer: Int
    private let medium: (Int) throws -> any HostedMedium
    private var guests: [Int: Guest] = [:]
    private var tickets: [Int: UInt32] = [:]
    /// Is called before everything that others can see; a test ends the agent by throwing.
    package var willAct: () throws -> Void = {}
    /// Is called when an image is in the buffer and nobody has been told.
    package var wroteImage: () -> Void = {}
    private var media: [Int: any HostedMedium] = [:]
    /// - Parameters:
    ///   - buffer: offset in the memory of ``bufferBytes`` that are the agent's alone.
    ///   - medium: opens the medium of a function.
    public init(
        _ registers: any ComponentRegisters, memory: DMAMemory, buffer: Int, medium: @escaping (Int) throws -> any HostedMedium
    ) throws(AgentError) {
        self.registers = registers
        self.memory = memory
        self.buffer = buffer
        self.medium = medium
        guard buffer >= 0, buffer + Self.bufferBytes <= memory.window.size else {
            throw AgentError("a buffer of \(Self.bufferBytes) bytes expected within the host's memory, found one at 0x\(hex(buffer))")
        }
    }

    /// Says that the agent is there.
    /// - Parameters:
    ///   - vector: the MSI-X vector of its messages.
    ///   - keys: of the owners whose components it may serve, if these have keys.
    public func attach(vector: UInt32, keys: OwnerKeys = OwnerKeys()) throws(AgentError) {
        let address = memory.busAddress + UInt64(buffer)
        try registers.write(UInt32(truncatingIfNeeded: address), at: Register.bufferLow)
        try registers.write(UInt32(truncatingIfNeeded: address >> 32), at: Register.bufferHigh)
        try registers.write(UInt32(Self.bufferBytes), at: Register.bufferSize)
        try registers.write(vector << 8 | 1, at: Register.agent)
        for entry in 1...64 where keys[entry] != 0 {
            try registers.write(UInt32(truncatingIfNeeded: keys[entry]), at: Register.keyLow + Register.keyStride * entry)
            try registers.write(UInt32(truncatingIfNeeded: keys[entry] >> 32), at: Register.keyHigh + Register.keyStride * entry)
        }
    }

    /// Components that this agent serves at present.
    public var components: [Int] { guests.filter { $0.value.generation != nil }.keys.sorted() }

    /// Does what there is to do.
    /// - Returns: whether there may be more at once; otherwise a message will say when there is.
    public func step() throws -> Bool {
        for word in 0..<3 {
            var news = try registers.read(Register.attention + 4 * word)
            while news != 0 {
                try look(at: 32 * word + news.trailingZeroBitCount)
                news &= news - 1
            }
        }
        var isMore = false
        for entry in guests.keys.sorted() where try serve(entry) { isMore = true }
        // Who is about to be activated is waited for: nobody serves it.
        return isMore || guests.contains { $0.value.generation == nil }
    }

    // MARK: The firmware's wishes

    private func look(at entry: Int) throws {
        let base = Register.stride * entry
        let status = try registers.read(Register.status + base), request = try registers.read(Register.request + base)
        let isHere = status & 0xf == Self.running && status >> 4 & 1 == 1
        let ticket = request >> 8 & 0xff
        let isNew = tickets[entry] != ticket
        tickets[entry] = ticket
        let what = Request(rawValue: request & 0xf)
        if isNew, let what, what != .none {
            try perform(what, entry, generation: UInt16(truncatingIfNeeded: status >> 16), ticket: ticket, bytes: Int(request >> 16))
        }
        if isHere {
            try start(entry, generation: UInt16(truncatingIfNeeded: status >> 16))
        } else if status & 0xf == Self.running, what != .prepare, what != .activate {
            // The device has it: what was kept here is of no use any more.
            guests[entry] = nil
        }
    }

    private func perform(_ what: Request, _ entry: Int, generation: UInt16, ticket: UInt32, bytes: Int) throws {
        try willAct()
        switch what {
        case .none: break
        case .prepare, .activate:
            do {
                let image = try readImage(bytes)
                let component = try HostedComponent(image: image, memory: memory, medium: try openMedium(entry))
                guests[entry] = Guest(component: component)
                try reply(.done, entry, ticket)
            } catch let defect as ComponentImage.Defect {
                try reply(.refused, entry, ticket, detail: defect.rawValue)
            } catch is AgentError {
                try reply(.refused, entry, ticket, detail: Self.cannotServe)
            }
        case .stop:
            // It may have been activated and asked back between two looks.
            guard var guest = guests[entry] else { return try reply(.refused, entry, ticket, detail: Self.cannotServe) }
            guest.generation = nil
            guests[entry] = guest
            let image = guest.component.writeImage(generation: generation)
            try image.withUnsafeBytes { try memory.window.write($0, at: buffer) }
            wroteImage()
            try reply(.done, entry, ticket, detail: UInt16(image.count))
        }
    }

    private func readImage(_ bytes: Int) throws -> [UInt8] {
        guard bytes <= Self.bufferBytes else { throw ComponentImage.Defect.length }
        var image = [UInt8](repeating: 0, count: bytes)
        try image.withUnsafeMutableBytes { try memory.window.read(into: $0, at: buffer) }
        return image
    }

    private func openMedium(_ entry: Int) throws -> any HostedMedium {
        if let open = media[entry] { return open }
        let opened = try medium(entry)
        media[entry] = opened
        return opened
    }

    private func reply(_ verdict: Verdict, _ entry: Int, _ ticket: UInt32, detail: UInt16 = 0) throws(AgentError) {
        try registers.write(verdict.rawValue | ticket << 8 | UInt32(detail) << 16, at: Register.reply + Register.stride * entry)
    }

    // MARK: Serving

    /// The device says that a component runs here.
    private func start(_ entry: Int, generation: UInt16) throws {
        guard var guest = guests[entry], guest.generation != generation else { return }
        guest.generation = generation
        guest.goesBack = false
        guests[entry] = guest
        try guest.component.interruptAll { queue in try interrupt(entry, queue, generation) }
    }

    /// Serves a component that is here.
    /// - Returns: whether there may be more to do.
    private func serve(_ entry: Int) throws -> Bool {
        guard let generation = guests[entry]?.generation, guests[entry]?.goesBack == false else { return false }
        let waiting = try registers.read(Register.waiting + Register.stride * entry)
        if waiting != 0 { try registers.write(waiting, at: Register.waiting + Register.stride * entry) }
        do {
            return try guests[entry]!.component.serve(limit: Self.requestsPerStep, willAct: willAct) { queue in
                try interrupt(entry, queue, generation)
            }
        } catch is HostedComponent.GoesBack {
            try goBack(entry)
        } catch is HostedQueue.Broken {
            try goBack(entry)
        }
        return false
    }

    private func goBack(_ entry: Int) throws(AgentError) {
        guests[entry]?.goesBack = true
        try reply(.release, entry, 0)
    }

    private func interrupt(_ entry: Int, _ queue: Int, _ generation: UInt16) throws(AgentError) {
        try registers.write(UInt32(entry) | UInt32(queue) << 8 | UInt32(generation) << 16, at: Register.interrupt)
    }
}
