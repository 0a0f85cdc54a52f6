import Simulation

/// A medium in memory that takes room only for what was written.
public final class MemoryBackend: BlockBackend {
    public struct State: Sendable {
        /// Chunks of ``MemoryBackend/chunkBytes``; an empty one reads as zero. A copy shares the chunks until one side writes.
        var chunks: [[UInt8]]

        public let byteCount: UInt64

        /// Zeroes.
        public init(byteCount: UInt64) {
            self.byteCount = byteCount
            chunks = Array(repeating: [], count: Int((byteCount + UInt64(chunkBytes) - 1) / UInt64(chunkBytes)))
        }

        /// Calls `body` for each run of bytes that aren't all zero: whole pages within a chunk.
        /// - Parameter page: bytes, a power of two up to that of a chunk.
        public func forEachRun<Failure: Error>(
            page: Int, _ body: (_ position: UInt64, _ bytes: ArraySlice<UInt8>) throws(Failure) -> Void
        ) throws(Failure) {
            for (number, chunk) in chunks.enumerated() where !chunk.isEmpty {
                let isZero = chunk.withUnsafeBytes { bytes in
                    stride(from: 0, to: bytes.count, by: page).map {
                        UnsafeRawBufferPointer(rebasing: bytes[$0..<$0 + page]).isZero
                    }
                }
                var first = 0
                while first < isZero.count {
                    guard !isZero[first] else {
                        first += 1
                        continue
                    }
                    let end = isZero[first...].firstIndex(of: true) ?? isZero.count
                    try body(UInt64(number * chunkBytes + first * page), chunk[first * page..<end * page])
                    first = end
                }
            }
        }

        /// Replaces bytes within one chunk.
        /// - Returns: false, with nothing changed, if they aren't within one.
        public mutating func replace(_ position: UInt64, with bytes: [UInt8]) -> Bool {
            let offset = Int(position % UInt64(chunkBytes))
            guard position / UInt64(chunkBytes) < UInt64(chunks.count), bytes.count <= chunkBytes - offset else { return false }
            let chunk = Int(position / UInt64(chunkBytes))
            if chunks[chunk].isEmpty { chunks[chunk] = [UInt8](repeating: 0, count: chunkBytes) }
            chunks[chunk].replaceSubrange(offset..<offset + bytes.count, with: bytes)
            return true
        }
    }

    public static let chunkBytes = 1 << 16

    public let byteCount: UInt64
    public let isReadOnly: Bool
    public var state: State

    /// - Parameter byteCount: a positive multiple of 512.
    public init(byteCount: UInt64, isReadOnly: Bool = false) throws(BackendError) {
        guard byteCount > 0, byteCount % 512 == 0, byteCount <= 1 << 46 else { throw .size(path: "memory", bytes: byteCount) }
        self.byteCount = byteCount
        self.isReadOnly = isReadOnly
        state = State(byteCount: byteCount)
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
