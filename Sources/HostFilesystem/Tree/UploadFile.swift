import Glibc

/// A file that takes something large as a whole: it is gathered while it is written and handed over when it is closed, so that `close(2)`
/// tells whether it was accepted.
public final class UploadFile: Node {
    private let limit: Int
    private let show: () throws(Errno) -> String
    private let accept: (_ bytes: [UInt8]) throws(Errno) -> Void

    private final class Gathering: OpenFile {
        var text: [UInt8] = []
        var bytes: [UInt8] = []
    }

    /// - Parameters:
    ///   - limit: bytes at most; more is EFBIG.
    ///   - show: what a read shows.
    ///   - accept: takes what was written between open and close.
    public init(limit: Int, show: @escaping () throws(Errno) -> String, accept: @escaping (_ bytes: [UInt8]) throws(Errno) -> Void) {
        self.limit = limit
        self.show = show
        self.accept = accept
        super.init(permissions: 0o644)
    }

    public override var size: Int { 4096 }
    public override var wantsFlush: Bool { true }

    public override func open(flags: Int32) throws(Errno) -> OpenFile? { Gathering(flags: flags) }

    public override func read(
        at offset: Int, into buffer: UnsafeMutableRawBufferPointer, open: OpenFile?, by caller: Caller
    ) throws(Errno) -> Int {
        guard let gathering = open as? Gathering else { throw .inputOutput }
        if offset == 0 { gathering.text = Array(try show().utf8) }
        guard offset >= 0, offset < gathering.text.count else { return 0 }
        let count = min(buffer.count, gathering.text.count - offset)
        gathering.text.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<(offset + count)])) }
        return count
    }

    public override func write(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, open: OpenFile?, by caller: Caller
    ) throws(Errno) -> Int {
        guard let gathering = open as? Gathering else { throw .inputOutput }
        // One piece after the other: what programs that copy files do.
        guard offset == gathering.bytes.count else { throw .invalidArgument }
        guard bytes.count <= limit - gathering.bytes.count else { throw Errno(rawValue: EFBIG) }
        gathering.bytes += bytes
        return bytes.count
    }

    /// A close of one of the opening's descriptors. Nothing written, or handed over already, is nothing to do.
    public override func flush(_ file: OpenFile?) throws(Errno) {
        guard let gathering = file as? Gathering, !gathering.bytes.isEmpty else { return }
        let bytes = gathering.bytes
        gathering.bytes = []
        try accept(bytes)
    }
}
