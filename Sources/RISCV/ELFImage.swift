/// What is wrong with an ELF file. The description is one line for people.
public enum ELFError: Error, Equatable, CustomStringConvertible {
    /// `what` needs the file to have `needed` bytes; it has `size`.
    case truncated(what: String, needed: UInt64, size: Int)
    /// A header field has a value that this loader doesn't take.
    case unsupported(field: String, expected: String, found: String)
    /// A segment or section contradicts itself or another.
    case malformed(String)
    /// A segment has no memory to go to.
    case noMemory(segment: Int, address: UInt32, size: UInt32)

    public var description: String {
        switch self {
        case .truncated(let what, let needed, let size):
            "ELF file is truncated: \(what) needs \(needed) bytes, the file has \(size)"
        case .unsupported(let field, let expected, let found):
            "ELF file is of the wrong kind: \(field) is \(found), expected \(expected)"
        case .malformed(let what):
            "ELF file is malformed: \(what)"
        case .noMemory(let segment, let address, let size):
            "ELF segment \(segment) doesn't fit: no memory for \(size) bytes at \(hex(address))"
        }
    }
}

private func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }

/// A RISC-V ELF32 executable (System V ABI, chapters 4 and 5; RISC-V ELF psABI). The file is not trusted: whatever is in it,
/// reading it either gives a consistent image or throws.
public struct ELFImage: Sendable {
    /// A part of memory that the file fills: `fileBytes` from the file, then zeroes up to `memorySize`.
    public struct Segment: Sendable, Equatable {
        /// Where it is loaded (`p_paddr`).
        public let address: UInt32
        /// Where the code expects it (`p_vaddr`).
        public let virtualAddress: UInt32
        /// Offsets in the file.
        public let fileBytes: Range<Int>
        public let memorySize: UInt32
        public let isExecutable: Bool
        public let isWritable: Bool
    }

    public struct Symbol: Sendable, Equatable {
        public let name: String
        public let address: UInt32
        public let size: UInt32
        public let isFunction: Bool
    }

    public let entry: UInt32
    public let segments: [Segment]
    /// All named symbols of code and data, by address.
    public let symbols: [Symbol]
    private let bytes: [UInt8]

    /// Reads and checks a file.
    public init(_ bytes: [UInt8]) throws(ELFError) {
        let reader = ELFReader(bytes)
        try reader.checkIdentity()
        entry = try reader.word(24, "e_entry")
        segments = try reader.segments()
        symbols = try reader.symbols()
        self.bytes = bytes
    }

    /// The symbol of this name.
    public func symbol(_ name: String) -> Symbol? {
        symbols.first { $0.name == name }
    }

    /// The bytes that a segment takes from the file.
    public func contents(of segment: Segment) -> ArraySlice<UInt8> {
        bytes[segment.fileBytes]
    }

    /// Copies all segments into plain memory, read-only regions included.
    public func load(into memory: MemoryMap) throws(ELFError) {
        for (index, segment) in segments.enumerated() {
            guard let region = memory.region(at: segment.address),
                UInt64(segment.address) + UInt64(segment.memorySize) <= region.end
            else { throw .noMemory(segment: index, address: segment.address, size: segment.memorySize) }
        }
        for segment in segments {
            guard let region = memory.region(at: segment.address) else { continue }
            let target = region.bytes + Int(UInt64(segment.address) - region.base)
            bytes[segment.fileBytes].withUnsafeBytes { source in
                if let base = source.baseAddress { target.copyMemory(from: base, byteCount: source.count) }
            }
            let rest = Int(segment.memorySize) - segment.fileBytes.count
            (target + segment.fileBytes.count).initializeMemory(as: UInt8.self, repeating: 0, count: rest)
            memory.wasWritten(segment.address, bytes: Int(segment.memorySize))
        }
    }
}

/// Bounds-checked reading of the file's tables.
private struct ELFReader {
    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func checkIdentity() throws(ELFError) {
        try require("the ELF header", 0, 52)
        guard Array(bytes[0..<4]) == [0x7f, 0x45, 0x4c, 0x46] else {
            let found = bytes[0..<4].map { String($0, radix: 16) }.joined(separator: " ")
            throw .unsupported(field: "magic", expected: "7f 45 4c 46", found: found)
        }
        try check("class", UInt32(bytes[4]), 1, "1 (32-bit)")
        try check("data encoding", UInt32(bytes[5]), 1, "1 (little-endian)")
        try check("type", UInt32(half(16, "e_type")), 2, "2 (executable)")
        try check("machine", UInt32(half(18, "e_machine")), 243, "243 (RISC-V)")
        try check("version", word(20, "e_version"), 1, "1")
        let flags = try word(36, "e_flags")
        // Soft-float ABI: bits 1 and 2 (psABI, "File Header").
        try check("floating-point ABI in flags", flags & 6, 0, "0 (soft-float)")
        try check("RV32E bit in flags", flags & 8, 0, "0")
    }

    func segments() throws(ELFError) -> [ELFImage.Segment] {
        let table = UInt64(try word(28, "e_phoff")), count = Int(try half(44, "e_phnum"))
        guard count > 0 else { throw .malformed("it has no program headers") }
        try check("program header size", UInt32(half(42, "e_phentsize")), 32, "32")
        try require("the program header table", table, UInt64(count) * 32)
        var segments: [ELFImage.Segment] = []
        for index in 0..<count {
            let header = Int(table) + 32 * index
            let size = try word(header + 20, "p_memsz")
            guard try word(header, "p_type") == 1, size > 0 else { continue }
            let offset = try word(header + 4, "p_offset"), fileSize = try word(header + 16, "p_filesz")
            let address = try word(header + 12, "p_paddr"), flags = try word(header + 24, "p_flags")
            try require("segment \(index)", UInt64(offset), UInt64(fileSize))
            guard fileSize <= size else {
                throw .malformed("segment \(index) has \(fileSize) bytes in the file and \(size) in memory")
            }
            guard UInt64(address) + UInt64(size) <= 1 << 32 else {
                throw .malformed("segment \(index), \(size) bytes at \(hex(address)), ends past 4 GiB")
            }
            segments.append(ELFImage.Segment(
                address: address, virtualAddress: try word(header + 8, "p_vaddr"),
                fileBytes: Int(offset)..<Int(offset) + Int(fileSize), memorySize: size, isExecutable: flags & 1 != 0,
                isWritable: flags & 2 != 0))
        }
        let sorted = segments.sorted { $0.address < $1.address }
        for (a, b) in zip(sorted, sorted.dropFirst()) where UInt64(a.address) + UInt64(a.memorySize) > UInt64(b.address) {
            throw .malformed("segments at \(hex(a.address)) and \(hex(b.address)) overlap")
        }
        guard !segments.isEmpty else { throw .malformed("nothing in it is loaded") }
        return segments
    }

    private static let longestName = 4096

    /// The symbols of the symbol table (there is at most one, System V ABI, "Sections"); none if the file is stripped.
    func symbols() throws(ELFError) -> [ELFImage.Symbol] {
        let table = UInt64(try word(32, "e_shoff")), count = Int(try half(48, "e_shnum"))
        guard table != 0, count > 0 else { return [] }
        try check("section header size", UInt32(half(46, "e_shentsize")), 40, "40")
        try require("the section header table", table, UInt64(count) * 40)
        var symbols: [ELFImage.Symbol] = []
        for index in 0..<count {
            let header = Int(table) + 40 * index
            guard try word(header + 4, "sh_type") == 2 else { continue }
            let offset = try word(header + 16, "sh_offset"), size = try word(header + 20, "sh_size")
            let link = Int(try word(header + 24, "sh_link"))
            try require("symbol table \(index)", UInt64(offset), UInt64(size))
            guard link < count else { throw .malformed("symbol table \(index) names section \(link) of \(count) for its strings") }
            let strings = Int(table) + 40 * link
            let start = try word(strings + 16, "sh_offset"), length = try word(strings + 20, "sh_size")
            try require("string table \(link)", UInt64(start), UInt64(length))
            for entry in stride(from: Int(offset), to: Int(offset) + Int(size / 16) * 16, by: 16) {
                let name = try word(entry, "st_name"), kind = bytes[entry + 12] & 15
                // No type, object or function, in a section of the file: the others are no addresses.
                guard name != 0, kind <= 2, (1..<0xff00).contains(try half(entry + 14, "st_shndx")) else { continue }
                guard name < length else { throw .malformed("a symbol's name is at \(name) of \(length) bytes of strings") }
                let from = Int(start) + Int(name), to = Int(start) + Int(length)
                let text = bytes[from..<min(to, from + Self.longestName)].prefix { $0 != 0 }
                // Mapping symbols: $x, $d (psABI, "Mapping Symbol"). Swift's names begin with $s or $e.
                if text.starts(with: "$x".utf8) || text.starts(with: "$d".utf8) { continue }
                symbols.append(ELFImage.Symbol(
                    name: String(decoding: text, as: UTF8.self), address: try word(entry + 4, "st_value"),
                    size: try word(entry + 8, "st_size"), isFunction: kind == 2))
            }
            break
        }
        return symbols.sorted { ($0.address, $0.size, $0.name) < ($1.address, $1.size, $1.name) }
    }

    private func check(_ field: String, _ found: UInt32, _ expected: UInt32, _ text: String) throws(ELFError) {
        guard found == expected else { throw .unsupported(field: field, expected: text, found: "\(found)") }
    }

    private func require(_ what: String, _ offset: UInt64, _ size: UInt64) throws(ELFError) {
        guard offset + size <= UInt64(bytes.count) else {
            throw .truncated(what: what, needed: offset + size, size: bytes.count)
        }
    }

    func half(_ offset: Int, _ what: String) throws(ELFError) -> UInt16 {
        try require(what, UInt64(offset), 2)
        return UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) &<< 8
    }

    func word(_ offset: Int, _ what: String) throws(ELFError) -> UInt32 {
        try require(what, UInt64(offset), 4)
        return (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) &<< UInt32(8 * $1) }
    }
}
