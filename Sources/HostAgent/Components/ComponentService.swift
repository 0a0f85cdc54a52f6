import CHostRegisters
import Glibc

/// A ``ComponentAgent`` on a device's files.
public final class ComponentService {
    /// The MSI-X vector of its messages.
    private static let vector = 3

    private let agent: ComponentAgent
    private let interrupts: Interrupts
    /// Its being open says that this process is there; its end closes it.
    private let presence: File

    /// VIC_HOST in BAR0 of the physical function.
    private struct Window: ComponentRegisters {
        static let offset = MemoryLayout<pf_bar0_t>.offset(of: \.VIC_HOST)!
        let file: File
        func read(_ offset: Int) throws(AgentError) -> UInt32 { try file.read(UInt32.self, at: Self.offset + offset) }
        func write(_ value: UInt32, at offset: Int) throws(AgentError) { try file.write(value, at: Self.offset + offset) }
    }

    /// Attaches to a device.
    /// - Parameters:
    ///   - device: the physical function.
    ///   - buffer: where in host memory the agent has ``ComponentAgent/bufferBytes`` for itself; nil: at the memory's end.
    ///   - keys: of the owners whose components it may serve, if these have keys.
    public init(_ device: PCIDevice, buffer: Int? = nil, keys: OwnerKeys = OwnerKeys()) throws(AgentError) {
        guard let files = device.deviceFiles else {
            throw AgentError("\(device.address): the files of an Outrigger device expected in dev/outrigger, none found")
        }
        try HostInterface(device).waitUntilReady()
        presence = try File(files + "/agent", O_RDWR)
        try enableMessageInterrupts(device, vectors: Self.vector + 1)
        interrupts = try Interrupts(device)
        let memory = try DMAMemory(for: device)
        agent = try ComponentAgent(
            Window(file: try device.open("resource0")), memory: memory,
            buffer: buffer ?? memory.window.size - ComponentAgent.bufferBytes,
            medium: { function in try MediumFile("\(files)/media/fn\(function)") })
        try agent.attach(vector: UInt32(Self.vector), keys: keys)
    }

    /// Components that are served at present.
    public var components: [Int] { agent.components }

    /// Serves until there is nothing to do for the moment, then waits for news, for so many milliseconds at most.
    public func run(milliseconds: Int32) throws {
        while try agent.step() {}
        _ = try interrupts.wait(milliseconds: milliseconds)
    }
}
