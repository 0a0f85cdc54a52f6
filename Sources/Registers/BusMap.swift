/// What is at which address of one bus or BAR: blocks, each at its base.
public struct BusMap: Sendable {
    /// `firmware`, `pf-bar0`, `vf-bar0`.
    public let name: String
    public let size: UInt64
    /// In the order of their addresses.
    public let blocks: [Block]
    /// ROM, SRAM, shared memory, and ranges that are reserved (`software` is `na`).
    public let memories: [WindowDescription]

    /// One block on the bus.
    public struct Block: Sendable {
        /// The instance's name, by which look-ups and traces know it: `WDT`.
        public let name: String
        public let base: UInt64
        public let map: RegisterMap

        public init(name: String, base: UInt64, map: RegisterMap) {
            self.name = name; self.base = base; self.map = map
        }
    }

    public init(name: String, size: UInt64, blocks: [Block], memories: [WindowDescription] = []) {
        self.name = name; self.size = size; self.blocks = blocks; self.memories = memories
    }

    /// The block at an address.
    public func block(at address: UInt64) -> Block? {
        blocks.last { $0.base <= address }.flatMap { address - $0.base < $0.map.size ? $0 : nil }
    }

    /// The register at an address, with the address itself.
    public func location(at address: UInt64) -> RegisterLocation? {
        guard let block = block(at: address), let (index, element) = block.map.register(at: address - block.base) else { return nil }
        return RegisterLocation(block: block, index: index, element: element, field: nil)
    }

    /// Looks up `WDT`-relative names as people write them: `WA.VM[3].READS`, `WDT.CTRL.enable`. Upper and lower case are the same.
    ///
    /// An array's index may be left out, which means its first element.
    /// - Throws: ``RegisterNameError`` with the nearest names that exist.
    public func location(named name: String) throws(RegisterNameError) -> RegisterLocation {
        let path = try RegisterPath(name)
        guard let blockName = path.segments.first?.name else {
            throw RegisterNameError(name: name, message: "is empty, expected BLOCK.REGISTER", candidates: [])
        }
        guard let block = blocks.first(where: { sameName($0.name, blockName) }) else {
            throw RegisterNameError(
                name: name, message: "there is no block '\(blockName)'", candidates: nearest(blockName, blocks.map(\.name)))
        }
        let (index, element, field) = try block.map.register(path.segments.dropFirst(), of: name)
        return RegisterLocation(block: block, index: index, element: element, field: field)
    }
}

/// One register on a bus, and perhaps one field of it.
public struct RegisterLocation: Sendable {
    public let block: BusMap.Block
    public let index: RegisterIndex
    public let element: Int
    public let field: FieldDescription?

    public var register: RegisterDescription { block.map[index] }
    /// On the bus.
    public var address: UInt64 { block.base + register.offset(ofElement: element) }
    /// `WA.VM[3].READS`, with the field if there is one.
    public var name: String {
        "\(block.name).\(register.name(ofElement: element))" + (field.map { ".\($0.name)" } ?? "")
    }
}

/// A name that means no register.
public struct RegisterNameError: Error, Hashable, Sendable, CustomStringConvertible {
    public let name: String
    public let message: String
    /// The nearest names that exist, best first.
    public let candidates: [String]

    public var description: String {
        "'\(name)': \(message)" + (candidates.isEmpty ? "" : "; near it: \(candidates.joined(separator: ", "))")
    }
}

/// A dotted name taken apart: `VM[3].READS` is `VM` with index 3, `READS` with none.
struct RegisterPath {
    struct Segment {
        var name: String
        var indices: [Int]
    }

    var segments: [Segment] = []

    init(_ text: String) throws(RegisterNameError) {
        for part in text.split(separator: ".", omittingEmptySubsequences: false) {
            let pieces = part.split(separator: "[", omittingEmptySubsequences: false)
            guard !pieces[0].isEmpty else { throw RegisterNameError(name: text, message: "has an empty part", candidates: []) }
            var indices: [Int] = []
            for piece in pieces.dropFirst() {
                guard piece.last == "]", let index = Int(piece.dropLast()), index >= 0 else {
                    throw RegisterNameError(name: text, message: "'[\(piece)' is not an index, expected [NUMBER]", candidates: [])
                }
                indices.append(index)
            }
            segments.append(Segment(name: String(pieces[0]), indices: indices))
        }
    }
}

extension RegisterMap {
    /// Looks up a name relative to the block: `CTRL`, `VM[3].READS`, `CTRL.enable`.
    public func register(named name: String) throws(RegisterNameError) -> (index: RegisterIndex, element: Int, field: FieldDescription?) {
        try register(try RegisterPath(name).segments[...], of: name)
    }

    func register(
        _ segments: ArraySlice<RegisterPath.Segment>, of name: String
    ) throws(RegisterNameError) -> (index: RegisterIndex, element: Int, field: FieldDescription?) {
        let place = registers.firstIndex { register in
            register.path.count <= segments.count && zip(register.path, segments).allSatisfy { sameName($0.name, $1.name) }
        }
        guard let place else {
            let wanted = segments.map(\.name).joined(separator: ".")
            let message = wanted.isEmpty ? "names a block, expected \(self.name).REGISTER" : "\(self.name) has no register '\(wanted)'"
            let asRegister = segments.prefix(registers.map(\.path.count).max() ?? 1).map(\.name).joined(separator: ".")
            throw RegisterNameError(name: name, message: message, candidates: nearest(asRegister, registers.map(\.name)))
        }
        let register = registers[place]
        let element = try register.element(segments.prefix(register.path.count), of: name)
        let rest = segments.dropFirst(register.path.count)
        guard let wanted = rest.first else { return (.init(rawValue: place), element, nil) }
        guard rest.count == 1, let field = register.fields.first(where: { sameName($0.name, wanted.name) }) else {
            throw RegisterNameError(
                name: name, message: "\(self.name).\(register.name) has no field '\(rest.map(\.name).joined(separator: "."))'",
                candidates: nearest(wanted.name, register.fields.map(\.name)))
        }
        return (.init(rawValue: place), element, field)
    }
}

extension RegisterDescription {
    fileprivate func element(_ segments: ArraySlice<RegisterPath.Segment>, of name: String) throws(RegisterNameError) -> Int {
        var element = 0
        var dimension = dimensions[...]
        for (own, segment) in zip(path, segments) {
            guard segment.indices.count <= own.dimensions else {
                throw RegisterNameError(
                    name: name, message: "'\(own.name)' takes \(own.dimensions) indices, found \(segment.indices.count)", candidates: [])
            }
            for place in 0..<own.dimensions {
                guard let count = dimension.popFirst()?.count else { break }
                let index = place < segment.indices.count ? segment.indices[place] : 0
                guard index < count else {
                    throw RegisterNameError(
                        name: name, message: "index \(index) of '\(own.name)' is past the end, expected 0...\(count - 1)", candidates: [])
                }
                element = element * count + index
            }
        }
        return element
    }
}

/// Names compare without regard to case (ASCII).
private func sameName(_ a: String, _ b: String) -> Bool {
    a.utf8.count == b.utf8.count && zip(a.utf8, b.utf8).allSatisfy { lowered($0) == lowered($1) }
}

private func lowered(_ byte: UInt8) -> UInt8 {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
}

/// Up to three of the names, those that take the fewest edits to reach; none that shares less than half with `name`.
package func nearest(_ name: String, _ names: [String]) -> [String] {
    let wanted = name.utf8.map(lowered)
    return names.enumerated()
        .map { (distance: distance(wanted, $1.utf8.map(lowered)), place: $0, name: $1) }
        .filter { $0.distance * 2 <= max(wanted.count, $0.name.utf8.count) }
        .sorted { ($0.distance, $0.place) < ($1.distance, $1.place) }
        .prefix(3).map(\.name)
}

/// Edits (insert, delete, replace) from one to the other: Levenshtein's distance.
private func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let replaced = diagonal + (x == y ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(replaced, row[j] + 1, diagonal + 1)
        }
    }
    return row[b.count]
}
