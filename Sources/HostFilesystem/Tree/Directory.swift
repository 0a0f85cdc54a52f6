import Glibc

/// A directory. Entries appear and vanish at run time and are listed in the order in which they were added.
public final class Directory: Node {
    public private(set) var entries: [(name: String, node: Node)] = []
    private var nodes: [String: Node] = [:]

    public init() {
        super.init(permissions: 0o755)
    }

    public override var type: mode_t { S_IFDIR }

    /// The entry with this name.
    public subscript(name: String) -> Node? { nodes[name] }

    /// Adds an entry, and all that is below it, to the tree.
    ///
    /// The name must be new here and the node in no other directory: anything else is a mistake in the program.
    @discardableResult
    public func add<Entry: Node>(_ name: String, _ node: Entry) -> Entry {
        precondition(nodes[name] == nil, "\(name) is already in this directory")
        precondition(node.parent == nil && !node.hasVanished, "\(name) is already in a directory, or was in one")
        entries.append((name, node))
        nodes[name] = node
        node.parent = self
        table?.enter(node)
        return node
    }

    /// Takes an entry, and all that is below it, out of the tree. Nothing happens if there is none with this name.
    ///
    /// The next lookup of the name fails; files that are open on the nodes answer ENODEV.
    public func remove(_ name: String) {
        guard let node = nodes.removeValue(forKey: name) else { return }
        entries.removeAll { $0.name == name }
        node.parent = nil
        node.vanish()
    }

    /// The directory at this path below this one; those that are missing are made.
    public func directory(_ path: String) -> Directory {
        var place = self
        for name in path.split(separator: "/") {
            let name = String(name)
            if let next = place[name] {
                guard let next = next as? Directory else { preconditionFailure("\(name) of \(path) isn't a directory") }
                place = next
            } else {
                place = place.add(name, Directory())
            }
        }
        return place
    }

    /// Its path from the root of the tree, without a leading slash.
    public var path: String {
        guard let parent, let name = parent.entries.first(where: { $0.node === self })?.name else { return "" }
        return parent.parent == nil ? name : parent.path + "/" + name
    }

    public override func read(at offset: Int, into: UnsafeMutableRawBufferPointer, open: OpenFile?, by: Caller) throws(Errno) -> Int {
        throw .isDirectory
    }
}

extension Node {
    /// Leaves the tree with all that is below: each leaves its table and tells those who wait for it.
    fileprivate final func vanish() {
        hasVanished = true
        if let directory = self as? Directory {
            for entry in directory.entries { entry.node.vanish() }
        }
        vanished()
        table?.leave(self)
    }
}
