import CDwarf
import Glibc
import RISCV

/// Reads an image's DWARF by elfutils' libdw, once, into values. Nothing else knows libdw.
///
/// The file isn't trusted: every loop has an end that doesn't depend on it, and addresses outside of the image's code are dropped.
struct DwarfReader {
    struct Content {
        var functions: [FirmwareFunction] = []
        var lines: [LineRange] = []
        var rows: [CallFrameRow] = []
        var types: [TypeDescription] = []
    }

    private let bytes: UnsafeMutableBufferPointer<CChar>
    private let elf: OpaquePointer
    private let dwarf: OpaquePointer
    private let image: ELFImage
    private var content = Content()
    /// Entries that may still be visited: a broken file may have them in circles.
    private var budget = 4_000_000
    private static let deepest = 64
    private static let mostRanges = 4096

    init(_ file: [UInt8], _ image: ELFImage) throws(DebugInformationError) {
        self.image = image
        elf_version(UInt32(EV_CURRENT))
        let bytes = UnsafeMutableBufferPointer<CChar>.allocate(capacity: max(file.count, 1))
        file.withUnsafeBytes { UnsafeMutableRawBufferPointer(bytes).copyMemory(from: $0) }
        self.bytes = bytes
        guard let elf = elf_memory(bytes.baseAddress, file.count) else {
            bytes.deallocate()
            throw .missing(String(cString: elf_errmsg(-1)))
        }
        guard !Self.hasCompressedSections(elf), let dwarf = dwarf_begin_elf(elf, DWARF_C_READ, nil) else {
            let reason = Self.hasCompressedSections(elf) ? "sections are compressed" : String(cString: dwarf_errmsg(-1))
            elf_end(elf)
            bytes.deallocate()
            throw .missing(reason)
        }
        self.elf = elf
        self.dwarf = dwarf
    }

    func close() {
        dwarf_end(dwarf)
        elf_end(elf)
        bytes.deallocate()
    }

    /// A few bytes can be said to be many gigabytes, compressed.
    private static func hasCompressedSections(_ elf: OpaquePointer) -> Bool {
        var section: OpaquePointer?, names = 0
        _ = elf_getshdrstrndx(elf, &names)
        while let next = elf_nextscn(elf, section) {
            section = next
            guard let header = elf32_getshdr(next) else { continue }
            if header.pointee.sh_flags & UInt32(SHF_COMPRESSED) != 0 { return true }
            if let name = elf_strptr(elf, names, Int(header.pointee.sh_name)), String(cString: name).hasPrefix(".zdebug") { return true }
        }
        return false
    }

    mutating func read() -> Content {
        var offset: Dwarf_Off = 0, next: Dwarf_Off = 0, header = 0
        var rows: [LineRow] = []
        while dwarf_nextcu(dwarf, offset, &next, &header, nil, nil, nil) == 0, next > offset {
            var unit = Dwarf_Die()
            if dwarf_offdie(dwarf, offset + Dwarf_Off(header), &unit) != nil {
                readLines(&unit, into: &rows)
                visit(unit, unit: &unit, depth: 0)
            }
            offset = next
        }
        content.lines = Self.ranges(of: rows)
        readCallFrames()
        return content
    }

    // MARK: Entries

    /// Visits the children of an entry: subprograms with code, and types by their qualified names.
    private mutating func visit(_ parent: Dwarf_Die, unit: inout Dwarf_Die, depth: Int) {
        var parent = parent, entry = Dwarf_Die()
        guard depth < Self.deepest, dwarf_child(&parent, &entry) == 0 else { return }
        repeat {
            guard budget > 0 else { return }
            budget -= 1
            switch dwarf_tag(&entry) {
            case Int32(DW_TAG_subprogram): readFunction(entry, unit: &unit, depth: depth)
            case Int32(DW_TAG_structure_type), Int32(DW_TAG_enumeration_type), Int32(DW_TAG_base_type):
                readType(entry)
                visit(entry, unit: &unit, depth: depth + 1)
            case Int32(DW_TAG_module), Int32(DW_TAG_namespace): visit(entry, unit: &unit, depth: depth + 1)
            default: break
            }
        } while Self.goToSibling(&entry)
    }

    private mutating func readFunction(_ entry: Dwarf_Die, unit: inout Dwarf_Die, depth: Int) {
        var entry = entry
        // A closure's entry may be within that of the function that it is written in.
        visit(entry, unit: &unit, depth: depth + 1)
        let ranges = codeRanges(&entry)
        guard !ranges.isEmpty, let linkageName = Self.linkageName(&entry) else { return }
        var calls: [InlinedCall] = []
        readInlinedCalls(entry, unit: &unit, into: &calls, level: 0, depth: depth + 1)
        content.functions.append(FirmwareFunction(
            name: SwiftNames.shorten(linkageName), linkageName: linkageName, ranges: ranges, declaration: Self.declaration(&entry),
            inlined: calls))
    }

    private mutating func readInlinedCalls(
        _ parent: Dwarf_Die, unit: inout Dwarf_Die, into calls: inout [InlinedCall], level: Int, depth: Int
    ) {
        var parent = parent, entry = Dwarf_Die()
        guard depth < Self.deepest, dwarf_child(&parent, &entry) == 0 else { return }
        repeat {
            guard budget > 0 else { return }
            budget -= 1
            switch dwarf_tag(&entry) {
            case Int32(DW_TAG_inlined_subroutine):
                let ranges = codeRanges(&entry)
                guard !ranges.isEmpty, let name = Self.linkageName(&entry) else { continue }
                let call = SourceLine(
                    file: Self.file(Self.number(&entry, DW_AT_call_file) ?? 0, of: &unit) ?? "?",
                    line: Int(Self.number(&entry, DW_AT_call_line) ?? 0))
                calls.append(InlinedCall(name: SwiftNames.shorten(name), ranges: ranges, call: call, depth: level))
                readInlinedCalls(entry, unit: &unit, into: &calls, level: level + 1, depth: depth + 1)
            case Int32(DW_TAG_lexical_block):
                readInlinedCalls(entry, unit: &unit, into: &calls, level: level, depth: depth + 1)
            default: break
            }
        } while Self.goToSibling(&entry)
    }

    private mutating func readType(_ entry: Dwarf_Die) {
        var entry = entry
        guard dwarf_hasattr(&entry, UInt32(DW_AT_declaration)) == 0, let name = Self.typeName(&entry) else { return }
        var type = TypeDescription(name: name, size: Int(clamping: Self.number(&entry, DW_AT_byte_size) ?? 0))
        type.isEnumeration = dwarf_tag(&entry) == Int32(DW_TAG_enumeration_type)
        var child = Dwarf_Die()
        guard dwarf_child(&entry, &child) == 0 else { return content.types.append(type) }
        repeat {
            guard budget > 0 else { return }
            budget -= 1
            let tag = dwarf_tag(&child)
            guard tag == Int32(DW_TAG_enumerator) || tag == Int32(DW_TAG_member), let name = dwarf_diename(&child) else { continue }
            if tag == Int32(DW_TAG_enumerator) {
                type.cases.append(String(cString: name))
            } else {
                var attribute = Dwarf_Attribute(), target = Dwarf_Die()
                guard dwarf_attr(&child, UInt32(DW_AT_type), &attribute) != nil, dwarf_formref_die(&attribute, &target) != nil,
                    let typeName = Self.typeName(&target)
                else { continue }
                type.members.append((String(cString: name), typeName))
            }
        } while Self.goToSibling(&child)
        content.types.append(type)
    }

    /// - Returns: false after the last.
    private static func goToSibling(_ entry: inout Dwarf_Die) -> Bool {
        withUnsafeMutablePointer(to: &entry) { dwarf_siblingof($0, $0) == 0 }
    }

    // MARK: Attributes

    private static func string(_ entry: inout Dwarf_Die, _ name: Int) -> String? {
        var attribute = Dwarf_Attribute()
        guard dwarf_attr_integrate(&entry, UInt32(name), &attribute) != nil, let text = dwarf_formstring(&attribute) else { return nil }
        return String(cString: text)
    }

    private static func number(_ entry: inout Dwarf_Die, _ name: Int) -> UInt64? {
        var attribute = Dwarf_Attribute(), value: Dwarf_Word = 0
        guard dwarf_attr(&entry, UInt32(name), &attribute) != nil, dwarf_formudata(&attribute, &value) == 0 else { return nil }
        return value
    }

    private static func linkageName(_ entry: inout Dwarf_Die) -> String? {
        string(&entry, DW_AT_linkage_name) ?? string(&entry, DW_AT_name)
    }

    /// A type by its full name, as `OffloadManager.TraceRing.Kind`; of C, its own.
    private static func typeName(_ entry: inout Dwarf_Die) -> String? {
        guard let name = linkageName(&entry) else { return nil }
        return SwiftNames.demangle(name) ?? name
    }

    private static func file(_ number: UInt64, of unit: inout Dwarf_Die) -> String? {
        var files: OpaquePointer?, count = 0
        guard dwarf_getsrcfiles(&unit, &files, &count) == 0, number < UInt64(count),
            let name = dwarf_filesrc(files, Int(number), nil, nil)
        else { return nil }
        return normalized(String(cString: name))
    }

    private static func declaration(_ entry: inout Dwarf_Die) -> SourceLine? {
        var line: Int32 = 0
        guard let file = dwarf_decl_file(&entry), dwarf_decl_line(&entry, &line) == 0, line > 0 else { return nil }
        return SourceLine(file: normalized(String(cString: file)), line: Int(line))
    }

    /// The compiler's prefix map leaves `./` before some of the names.
    private static func normalized(_ path: String) -> String {
        var path = path[...]
        while path.hasPrefix("./") || path.hasPrefix("//") { path = path.dropFirst(path.hasPrefix("//") ? 1 : 2) }
        if path == "/<compiler-generated>" { path = path.dropFirst() }
        return String(path)
    }

    private func codeRanges(_ entry: inout Dwarf_Die) -> [Range<UInt32>] {
        var base: Dwarf_Addr = 0, start: Dwarf_Addr = 0, end: Dwarf_Addr = 0
        var ranges: [Range<UInt32>] = []
        var offset = dwarf_ranges(&entry, 0, &base, &start, &end)
        while offset > 0, ranges.count < Self.mostRanges {
            // The linker leaves the addresses of what it has dropped at 0.
            if start < end, let first = UInt32(exactly: start), let last = UInt32(exactly: end), image.isCode(first),
                image.isCode(last - 1)
            {
                ranges.append(first..<last)
            }
            offset = dwarf_ranges(&entry, offset, &base, &start, &end)
        }
        return ranges.sorted { $0.lowerBound < $1.lowerBound }
    }

    // MARK: Lines

    private struct LineRow {
        var address: UInt32
        var end: UInt32
        var source: SourceLine
    }

    private func readLines(_ unit: inout Dwarf_Die, into rows: inout [LineRow]) {
        var table: OpaquePointer?, count = 0
        guard dwarf_getsrclines(&unit, &table, &count) == 0 else { return }
        var previous: (address: UInt32, source: SourceLine)?
        var names: [UnsafePointer<CChar>: String] = [:]
        for index in 0..<count {
            guard let row = dwarf_onesrcline(table, index) else { continue }
            var address: Dwarf_Addr = 0, line: Int32 = 0, ends = false
            dwarf_lineaddr(row, &address)
            dwarf_lineno(row, &line)
            dwarf_lineendsequence(row, &ends)
            guard let at = UInt32(exactly: address) else {
                previous = nil
                continue
            }
            if let previous, at > previous.address, image.isCode(previous.address), image.isCode(at - 1) {
                rows.append(LineRow(address: previous.address, end: at, source: previous.source))
            }
            previous = nil
            guard !ends, let file = dwarf_linesrc(row, nil, nil) else { continue }
            let name = names[file] ?? Self.normalized(String(cString: file))
            names[file] = name
            previous = (at, SourceLine(file: name, line: Int(max(line, 0))))
        }
    }

    /// Sorted and without overlaps; neighbours of one line are one range.
    private static func ranges(of rows: [LineRow]) -> [LineRange] {
        var ranges: [LineRange] = []
        for row in rows.sorted(by: { ($0.address, $0.end) < ($1.address, $1.end) }) {
            let start = max(row.address, ranges.last?.addresses.upperBound ?? 0)
            guard start < row.end else { continue }
            if let last = ranges.last, last.source == row.source, last.addresses.upperBound == start {
                ranges[ranges.count - 1] = LineRange(addresses: last.addresses.lowerBound..<row.end, source: row.source)
            } else {
                ranges.append(LineRange(addresses: start..<row.end, source: row.source))
            }
        }
        return ranges
    }

    // MARK: Call frames

    private mutating func readCallFrames() {
        guard let table = dwarf_getcfi(dwarf) else { return }
        for segment in image.segments where segment.isExecutable {
            var at = UInt64(segment.virtualAddress)
            let end = at + UInt64(segment.fileBytes.count)
            while at < end, budget > 0 {
                budget -= 1
                var frame: OpaquePointer?
                guard dwarf_cfi_addrframe(table, at, &frame) == 0, let frame else {
                    at += 2
                    continue
                }
                defer { free(UnsafeMutableRawPointer(frame)) }
                var start: Dwarf_Addr = 0, stop: Dwarf_Addr = 0
                let returnColumn = dwarf_frame_info(frame, &start, &stop, nil)
                let next = max(min(stop, end), at + 2)
                if let row = row(of: frame, UInt32(at)..<UInt32(clamping: next), returnColumn: Int(returnColumn)) {
                    content.rows.append(row)
                }
                at = next
            }
        }
    }

    /// - Returns: nil for rules that firmware compilers don't make: DWARF expressions.
    private func row(of frame: OpaquePointer, _ range: Range<UInt32>, returnColumn: Int) -> CallFrameRow? {
        var operations: UnsafeMutablePointer<Dwarf_Op>?, count = 0
        // The canonical frame address is a register and an offset: DW_OP_bregx (DWARF 5, section 6.4.2.2).
        guard (0..<32).contains(returnColumn), dwarf_frame_cfa(frame, &operations, &count) == 0, count == 1,
            let operation = operations?.pointee, Int(operation.atom) == DW_OP_bregx, operation.number < 32
        else { return nil }
        var row = CallFrameRow(
            range: range, base: UInt8(operation.number), offset: Int32(truncatingIfNeeded: operation.number2),
            returnRegister: UInt8(returnColumn))
        let memory = UnsafeMutablePointer<Dwarf_Op>.allocate(capacity: 3)
        defer { memory.deallocate() }
        // The stack pointer's rule is that it is the frame address.
        for register in 1..<32 where register != 2 {
            guard dwarf_frame_register(frame, Int32(register), memory, &operations, &count) == 0 else { return nil }
            if count == 0 {
                // No operations at all: the same value; the caller's memory without operations: undefined.
                if operations != nil, register == returnColumn { row.isOutermost = true }
                continue
            }
            guard count <= 2, let operations, Int(operations[0].atom) == DW_OP_call_frame_cfa else { return nil }
            let offset = count == 2 ? operations[1].number : 0
            guard count == 1 || Int(operations[1].atom) == DW_OP_plus_uconst else { return nil }
            row.saved.append((UInt8(register), Int32(truncatingIfNeeded: offset)))
        }
        return row
    }
}
