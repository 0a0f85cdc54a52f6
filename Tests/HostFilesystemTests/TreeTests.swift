import HostFilesystem
import Testing

/// The tree without a mount: names, numbers and how long they live.
struct TreeTests {
    @Test func directoriesListInOrderOfAdding() {
        let root = Directory()
        for name in ["b", "a", "c"] { root.add(name, AttributeFile(name)) }
        #expect(root.entries.map(\.name) == ["b", "a", "c"])
        root.remove("a")
        #expect(root.entries.map(\.name) == ["b", "c"] && root["a"] == nil)
        root.remove("a")
        #expect(root.entries.count == 2)
    }

    @Test func pathsMakeWhatIsMissing() {
        let root = Directory()
        let deep = root.directory("sys/bus/pci")
        #expect(root.directory("sys/bus/pci") === deep)
        #expect(deep.path == "sys/bus/pci" && root.path == "")
    }

    @Test func theRootIsNumberOne() {
        let table = NodeTable()
        #expect(table.root.number == 1 && table.node(1) === table.root)
        #expect(table.node(0) == nil && table.node(2) == nil && table.node(.max) == nil)
    }

    @Test func aSubtreeEntersAndLeavesAsAWhole() {
        let table = NodeTable()
        let function = Directory()
        function.add("config", AttributeFile("x"))
        let inner = function.directory("uio/uio0").add("name", AttributeFile("y"))
        #expect(inner.number == 0)
        table.root.add("function", function)
        #expect(inner.number != 0 && table.node(inner.number) === inner)
        #expect(table.count == 6)
        table.root.remove("function")
        #expect(table.count == 1 && function.hasVanished && inner.hasVanished && inner.number == 0)
    }

    @Test func aNumberLivesUntilTheKernelForgets() {
        let table = NodeTable()
        let file = table.root.add("file", AttributeFile("x"))
        let number = file.number, generation = table.generation(of: file.number)
        table.lookedUp(file)
        table.lookedUp(file)
        table.root.remove("file")
        // Still what the kernel's two lookups mean, and nobody else's number.
        #expect(table.node(number) === file && file.hasVanished)
        let other = table.root.add("file", AttributeFile("y"))
        #expect(other.number != number)
        table.forget(number, lookups: 1)
        #expect(table.node(number) === file)
        table.forget(number, lookups: 1)
        #expect(table.node(number) == nil)
        // The number again, under a new generation.
        let third = table.root.add("third", AttributeFile("z"))
        #expect(third.number == number && table.generation(of: number) == generation + 1)
    }

    @Test func forgettingMakesAPresentNodeNoOlder() {
        let table = NodeTable()
        let file = table.root.add("file", AttributeFile("x"))
        table.lookedUp(file)
        table.forget(file.number, lookups: 1)
        #expect(table.node(file.number) === file)
        // More than was ever looked up, and a number that was never given.
        table.forget(file.number, lookups: 99)
        table.forget(1234, lookups: 1)
        #expect(table.node(file.number) === file)
        table.root.remove("file")
        #expect(table.count == 1)
    }

    /// Random comings, goings, lookups and forgets against a plain model of who must still be there.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func numbersNeverNameTwoThings(seed: UInt64) {
        var random = Sequence(state: seed)
        let table = NodeTable()
        var lookups: [ObjectIdentifier: UInt64] = [:]
        var known: [(node: Node, number: UInt64)] = []
        var present: [String] = []
        for step in 0..<4000 {
            switch random.next(4) {
            case 0:
                let name = "n\(step)"
                table.root.add(name, AttributeFile(name))
                present.append(name)
            case 1 where !present.isEmpty:
                table.root.remove(present.remove(at: random.next(present.count)))
            case 2 where !present.isEmpty:
                let node = table.root[present[random.next(present.count)]]!
                table.lookedUp(node)
                if lookups[ObjectIdentifier(node), default: 0] == 0 { known.append((node, node.number)) }
                lookups[ObjectIdentifier(node), default: 0] += 1
            case 3 where !known.isEmpty:
                let index = random.next(known.count)
                let (node, number) = known[index]
                let count = UInt64(1 + random.next(Int(lookups[ObjectIdentifier(node)]!)))
                table.forget(number, lookups: count)
                lookups[ObjectIdentifier(node)]! -= count
                if lookups[ObjectIdentifier(node)] == 0 { known.remove(at: index) }
            default: break
            }
            for (node, number) in known {
                guard table.node(number) === node else {
                    Issue.record("seed \(seed), step \(step): number \(number) no longer names its node")
                    return
                }
            }
        }
        for (node, number) in known { table.forget(number, lookups: lookups[ObjectIdentifier(node)]!) }
        for name in present { table.root.remove(name) }
        #expect(table.count == 1, "seed \(seed): nodes are left over")
    }

    /// A linear congruential sequence (Knuth, The Art of Computer Programming 3.3.4, Lavaux and Janssens' multiplier).
    private struct Sequence {
        var state: UInt64
        mutating func next(_ bound: Int) -> Int {
            state = state &* 2862933555777941757 &+ 3037000493
            return Int((state >> 33) % UInt64(bound))
        }
    }
}
