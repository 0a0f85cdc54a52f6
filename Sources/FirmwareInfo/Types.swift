/// A type as DWARF has it.
struct TypeDescription: Sendable {
    /// Full: `OffloadManager.TraceRing.Kind`, `Swift.UInt32`.
    let name: String
    let size: Int
    var isEnumeration = false
    /// Of an enumeration, by the number that stands in memory.
    var cases: [String] = []
    /// Of a structure, in the order of declaration.
    var members: [(name: String, type: String)] = []
}

/// Types by their names.
struct TypeTable: Sendable {
    private let types: [String: TypeDescription]

    init(_ types: [TypeDescription]) {
        // Each module has its own copy of what it uses; some know only the name. The fullest is taken.
        self.types = Dictionary(types.map { ($0.name, $0) }) { a, b in
            (b.cases.count + b.members.count, b.size) > (a.cases.count + a.members.count, a.size) ? b : a
        }
    }

    subscript(_ name: String) -> TypeDescription? { types[name] }

    /// Of types whose last parts are these: the firmware's module has a name that hosts needn't know.
    func type(endingIn path: String) -> TypeDescription? {
        types.filter { $0.key == path || $0.key.hasSuffix("." + path) }.min { $0.key < $1.key }?.value
    }
}

/// What the bytes of a structure mean: members that are integers and enumerations.
public struct StructureLayout: Sendable {
    public struct Member: Sendable {
        public let name: String
        public let offset: Int
        /// Bytes: 1, 2, 4 or 8.
        public let size: Int
        /// The names of an enumeration's cases, by the number in memory; empty for integers.
        public let cases: [String]
    }

    public let members: [Member]
    public let size: Int

    /// Puts the members where Swift's layout has them: each at the next multiple of its size. (The locations that the compiler writes
    /// into DWARF leave the padding out.)
    /// - Throws: if a member is no integer or enumeration, or if they don't make the size that DWARF has.
    init(_ type: TypeDescription, _ types: TypeTable) throws(DebugInformationError) {
        var offset = 0, members: [Member] = []
        for member in type.members {
            guard let target = types[member.type], [1, 2, 4, 8].contains(target.size) else {
                throw .unexpected("\(type.name).\(member.name): an integer or an enumeration expected, \(member.type) found")
            }
            offset = (offset + target.size - 1) & ~(target.size - 1)
            members.append(Member(name: member.name, offset: offset, size: target.size, cases: target.cases))
            offset += target.size
        }
        guard offset == type.size else {
            throw .unexpected("\(type.name): \(type.size) bytes expected of its members, \(offset) found")
        }
        self.members = members
        size = offset
    }
}
