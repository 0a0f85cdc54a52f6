/// A medium in memory that takes room only for what was written.
public final class MemoryBackend: BlockBackend {
    public struct State: Sendable {
        /// Chunks of ``MemoryBackend/chunkBytes``; an empty one reads as zero. A copy shares the chunks until one side writes.
        var chunks: [[UInt8]]
    }

    static let chunkBytes = 1 << 16

    public let byteCount: UInt64
    public let isReadOnly: Bool
    public var state: State

    /// - Parameter byteCount: a positive multiple of 512.
    public init(byteCount: UInt64, isReadOnly: Bool = false) throws(BackendError) {
        guard byteCount > 0, byteCount % 512 == 0, byteCount <= 1 << 46 else { throw .size(path: "memory", bytes: byteCount) }
        self.byteCount = byteCount
        self.isReadOnly = isReadOnly
        let chunks = (byteCount + UInt64(Self.chunkBytes) - 1) / UInt64(Self.chunkBytes)
        state = State(chunks: Array(repeating: [], count: Int(chunks)))
    }

    /// Bytes of memory that the medium takes.
    public var residentBytes: UInt64 {
        state.chunks.reduce(0) { $0 + UInt64($1.count) }
    }

    public func read(_ position: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(BackendError) {
        Self.forEachPiece(position, count: UInt64(bytes.count)) { chunk, offset, done, count in
            let target = UnsafeMutableRawBufferPointer(rebasing: bytes[Int(done)..<Int(done) + count])
            if state.chunks[chunk].isEmpty {
                target.initializeMemory(as: UInt8.self, repeating: 0)
            } else {
                state.chunks[chunk].withUnsafeBytes {
                    target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<offset + count]))
                }
            }
        }
    }

    public func write(_ position: UInt64, from bytes: UnsafeRawBufferPointer) throws(BackendError) {
        guard !isReadOnly else { throw .readOnly(path: "memory") }
        Self.forEachPiece(position, count: UInt64(bytes.count)) { chunk, offset, done, count in
            let source = UnsafeRawBufferPointer(rebasing: bytes[Int(done)..<Int(done) + count])
            if state.chunks[chunk].isEmpty { state.chunks[chunk] = [UInt8](repeating: 0, count: Self.chunkBytes) }
            state.chunks[chunk].withUnsafeMutableBytes {
                UnsafeMutableRawBufferPointer(rebasing: $0[offset..<offset + count]).copyMemory(from: source)
            }
        }
    }

    /// There is nothing that could outlive the process.
    public func flush() throws(BackendError) {}

    public func discard(_ position: UInt64, count: UInt64) throws(BackendError) {
        try writeZeroes(position, count: count, mayUnmap: true)
    }

    public func writeZeroes(_ position: UInt64, count: UInt64, mayUnmap: Bool) throws(BackendError) {
        guard !isReadOnly else { throw .readOnly(path: "memory") }
        Self.forEachPiece(position, count: count) { chunk, offset, _, count in
            guard !state.chunks[chunk].isEmpty else { return }
            if count == Self.chunkBytes {
                state.chunks[chunk] = []
            } else {
                state.chunks[chunk].withUnsafeMutableBytes {
                    _ = UnsafeMutableRawBufferPointer(rebasing: $0[offset..<offset + count]).initializeMemory(as: UInt8.self, repeating: 0)
                }
            }
        }
    }

    /// Cuts a range at the borders of chunks.
    @inline(__always)
    private static func forEachPiece(
        _ position: UInt64, count: UInt64, _ body: (_ chunk: Int, _ offset: Int, _ done: UInt64, _ count: Int) -> Void
    ) {
        var done: UInt64 = 0
        while done < count {
            let here = position &+ done
            let offset = Int(here % UInt64(chunkBytes))
            let piece = min(chunkBytes - offset, Int(clamping: count - done))
            body(Int(here / UInt64(chunkBytes)), offset, done, piece)
            done &+= UInt64(piece)
        }
    }
}
