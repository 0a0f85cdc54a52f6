/// The program of a policy, out of an object file that `clang -target bpf -c` has made.
public struct PolicyProgram {
    /// Section that the program is in (`examples/policies/outrigger_policy.h`).
    public static let section = "policy"

    /// Its instructions, eight bytes each.
    public let code: [UInt8]

    /// - Throws: when the file is no object file for BPF, or its program isn't whole in its section.
    public init(_ path: String) throws(AgentError) {
        try self.init(ObjectFile(path), path)
    }

    private init(_ file: ObjectFile, _ path: String) throws(AgentError) {
        guard let number = file.sections.firstIndex(where: { $0.name == Self.section }) else {
            let found = file.sections.map(\.name).filter { !$0.isEmpty }.joined(separator: ", ")
            throw AgentError("\(path): a section '\(Self.section)' expected, found \(found)")
        }
        let section = file.sections[number]
        // What the linker would have to fill in is outside the program: a global variable, a function that isn't inlined.
        if let relocation = file.sections.first(where: { ($0.kind == 4 || $0.kind == 9) && $0.info == number && !$0.bytes.isEmpty }) {
            let entry = relocation.bytes.number(at: 0, UInt64.self) ?? 0
            throw AgentError("""
                \(path): a program without global variables and calls expected, \(relocation.name) has a relocation for instruction \
                \(entry / 8)
                """)
        }
        code = section.bytes
    }
}

/// What is of use of an ELF file (System V ABI, chapter 4): its sections.
struct ObjectFile {
    struct Section {
        var name: String
        /// sh_type, sh_info
        var kind: UInt32, info: UInt32
        var bytes: [UInt8]
    }

    private(set) var sections: [Section] = []

    init(_ path: String) throws(AgentError) {
        let bytes = try File.contents(path)
        let damaged = AgentError("\(path): an object file that ends where its headers say expected, it is cut off at \(bytes.count) bytes")
        guard bytes.count >= 64 else { throw damaged }
        // 64 bits, little-endian; e_machine: EM_BPF.
        guard Array(bytes[0..<6]) == [0x7f, 0x45, 0x4c, 0x46, 2, 1], let machine = bytes.number(at: 18, UInt16.self), machine == 247 else {
            throw AgentError("\(path): an object file for BPF expected ('clang -target bpf -c'), something else found")
        }
        guard let table = bytes.number(at: 40, UInt64.self), let count = bytes.number(at: 60, UInt16.self),
              let names = bytes.number(at: 62, UInt16.self)
        else { throw damaged }
        var headers: [(name: UInt32, section: Section)] = []
        for index in 0..<UInt64(count) {
            guard let start = Int(exactly: table &+ index * 64), let name = bytes.number(at: start, UInt32.self),
                  let kind = bytes.number(at: start + 4, UInt32.self), let offset = bytes.number(at: start + 24, UInt64.self),
                  let size = bytes.number(at: start + 32, UInt64.self), let info = bytes.number(at: start + 44, UInt32.self)
            else { throw damaged }
            var contents: [UInt8] = []
            // SHT_NOBITS has none.
            if kind != 8 {
                guard offset <= bytes.count, size <= UInt64(bytes.count) - offset else { throw damaged }
                contents = Array(bytes[Int(offset)..<Int(offset + size)])
            }
            headers.append((name, Section(name: "", kind: kind, info: info, bytes: contents)))
        }
        guard Int(names) < headers.count else { throw damaged }
        let texts = headers[Int(names)].section.bytes
        for header in headers {
            guard Int(header.name) <= texts.count else { throw damaged }
            var section = header.section
            section.name = String(decoding: texts[Int(header.name)...].prefix { $0 != 0 }, as: UTF8.self)
            sections.append(section)
        }
    }
}

extension [UInt8] {
    /// The little-endian number at an offset; nil outside of the array.
    func number<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int, _ type: T.Type) -> T? {
        guard offset >= 0, offset <= count - MemoryLayout<T>.size else { return nil }
        return withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self)) }
    }
}
