/// Which node each inode number means, and how long the kernel may still ask for it.
///
/// A node holds its number from the moment it enters the tree until it has left it *and* the kernel has forgotten it: FUSE counts
/// each answered lookup, and FORGET takes lookups back. A number that is used again gets a new generation, so that the pair
/// never names two things (libfuse, `fuse_entry_param.generation`).
public final class NodeTable {
    private struct Slot {
        var node: Node?
        var generation: UInt64 = 0
        var lookups: UInt64 = 0
    }

    /// Slot *i* is inode number *i* + 1; the root is number 1 (`FUSE_ROOT_ID`).
    private var slots: [Slot] = []
    private var free: [Int] = []

    public let root: Directory
    /// Is told of each node that has given its number back: nobody can reach it any more.
    var onRelease: ((Node) -> Void)?

    public init(root: Directory = Directory()) {
        self.root = root
        enter(root)
    }

    /// The node with this number; nil if there is none, which only a confused kernel could ask for.
    @inline(__always)
    public func node(_ number: UInt64) -> Node? {
        let index = Int(truncatingIfNeeded: number &- 1)
        guard index >= 0, index < slots.count else { return nil }
        return slots[index].node
    }

    /// The generation of a number in use.
    public func generation(of number: UInt64) -> UInt64 { slots[Int(number) - 1].generation }

    /// How many nodes hold a number.
    public var count: Int { slots.count - free.count }

    /// The kernel learns of a node by an answered lookup.
    public func lookedUp(_ node: Node) {
        slots[Int(node.number) - 1].lookups &+= 1
    }

    /// The kernel gives back `lookups` lookups of a number.
    public func forget(_ number: UInt64, lookups: UInt64) {
        let index = Int(truncatingIfNeeded: number &- 1)
        guard index >= 0, index < slots.count, let node = slots[index].node else { return }
        slots[index].lookups = slots[index].lookups > lookups ? slots[index].lookups - lookups : 0
        if node.hasVanished { release(index) }
    }

    /// A node, with all that is below it, has come into the tree.
    func enter(_ node: Node) {
        node.table = self
        let index: Int
        if let reused = free.popLast() {
            index = reused
            slots[index].generation &+= 1
        } else {
            index = slots.count
            slots.append(Slot())
        }
        slots[index].node = node
        node.number = UInt64(index + 1)
        if let directory = node as? Directory {
            for entry in directory.entries { enter(entry.node) }
        }
    }

    /// A node has left the tree.
    func leave(_ node: Node) {
        node.table = nil
        release(Int(node.number) - 1)
    }

    private func release(_ index: Int) {
        guard slots[index].lookups == 0, let node = slots[index].node else { return }
        slots[index].node = nil
        onRelease?(node)
        node.number = 0
        free.append(index)
    }
}
