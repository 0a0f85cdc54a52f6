import Interconnect

/// A medium outside of the device, which others may change and which can fail: while a recording runs, and in a replay, what it does is an
/// input. docs/replay.md, "Memory".
public final class ExternalBackend: BlockBackend {
    public let byteCount: UInt64
    public let isReadOnly: Bool
    /// nil in a replay.
    private let medium: (any BlockBackend)?
    private let region: ExternalMemory.Region
    private var external: ExternalMemory?
    /// What the device knows of the medium, while a recording runs or in a replay.
    private var image: MemoryBackend?
    /// Where what is known of a piece lies while it is read.
    private var knownPiece: [UInt8] = []

    /// - Parameter function: PCI function index of the disk.
    public init(_ medium: any BlockBackend, function: Int) {
        self.medium = medium
        byteCount = medium.byteCount
        isReadOnly = medium.isReadOnly
        region = .disk(function: function)
    }

    /// A medium in a replay, of which no more is known than what was recorded.
    public init(replaying image: MemoryBackend, isReadOnly: Bool, function: Int) {
        medium = nil
        byteCount = image.byteCount
        self.isReadOnly = isReadOnly
        self.image = image
        region = .disk(function: function)
    }

    /// Makes the medium's doings inputs from now on.
    public func connect(to external: ExternalMemory) throws(BackendError) {
        if medium != nil { image = try MemoryBackend(byteCount: byteCount) }
        self.external = external
    }

    /// Ends that.
    public func disconnect() {
        external = nil
        if medium != nil { image = nil }
    }

    /// What the device knows of the medium, for snapshots; nil, and not to be set, unless a recording or a replay runs.
    public var known: MemoryBackend.State? {
        get { image?.state }
        set { if let newValue { image?.state = newValue } }
    }

    public func read(_ position: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(BackendError) {
        guard let external, let image else { return try direct { (medium) throws(BackendError) in try medium.read(position, into: bytes) } }
        try perform(external) { (medium) throws(BackendError) in try medium.read(position, into: bytes) }
        if knownPiece.count < bytes.count { knownPiece = [UInt8](repeating: 0, count: bytes.count) }
        try withKnown(bytes.count) { (known) throws(BackendError) in
            try image.read(position, into: known)
            let found = external.isReplaying ? nil : UnsafeRawBufferPointer(bytes)
            if let changed = external.update(known, from: found, region, offset: position) {
                try image.write(position + UInt64(changed.lowerBound), from: UnsafeRawBufferPointer(rebasing: known[changed]))
            }
            bytes.copyMemory(from: UnsafeRawBufferPointer(known))
        }
    }

    public func write(_ position: UInt64, from bytes: UnsafeRawBufferPointer) throws(BackendError) {
        try change({ (image) throws(BackendError) in try image.write(position, from: bytes) }) { (medium) throws(BackendError) in
            try medium.write(position, from: bytes)
        }
    }

    public func flush() throws(BackendError) {
        try change({ (_) throws(BackendError) in }) { (medium) throws(BackendError) in try medium.flush() }
    }

    /// What the bytes read as afterwards is found when they are read.
    public func discard(_ position: UInt64, count: UInt64) throws(BackendError) {
        try change({ (_) throws(BackendError) in }) { (medium) throws(BackendError) in try medium.discard(position, count: count) }
    }

    public func writeZeroes(_ position: UInt64, count: UInt64, mayUnmap: Bool) throws(BackendError) {
        try change({ (image) throws(BackendError) in try image.writeZeroes(position, count: count, mayUnmap: mayUnmap) }) {
            (medium) throws(BackendError) in try medium.writeZeroes(position, count: count, mayUnmap: mayUnmap)
        }
    }

    private typealias Operation = (any BlockBackend) throws(BackendError) -> Void

    private func change(_ known: Operation, _ operation: Operation) throws(BackendError) {
        guard let external, let image else { return try direct(operation) }
        try perform(external, operation)
        try known(image)
    }

    private func direct(_ operation: Operation) throws(BackendError) {
        guard let medium else { throw .system(call: "replay", path: "recorded medium", errno: Self.inputOutputError) }
        try operation(medium)
    }

    /// Performs an operation on the medium, or what is recorded of it.
    private func perform(_ external: ExternalMemory, _ operation: Operation) throws(BackendError) {
        external.begin()
        guard let medium else {
            guard let code = external.outcome(nil, region) else { return }
            throw .system(call: "recorded operation", path: "recorded medium", errno: code)
        }
        do throws(BackendError) {
            try operation(medium)
        } catch {
            _ = external.outcome(error.code, region)
            throw error
        }
    }

    private func withKnown(_ count: Int, _ body: (UnsafeMutableRawBufferPointer) throws(BackendError) -> Void) throws(BackendError) {
        var failure: BackendError?
        knownPiece.withUnsafeMutableBytes { buffer in
            do throws(BackendError) {
                try body(UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]))
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    /// EIO, as a medium without a better reason has it.
    static let inputOutputError: Int32 = 5
}

extension BackendError {
    /// `errno`, or the nearest to it.
    fileprivate var code: Int32 {
        if case .system(_, _, let code) = self { code } else { ExternalBackend.inputOutputError }
    }
}
