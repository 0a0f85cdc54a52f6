import OffloadDevice
import Simulation

/// A machine with little memory, a good snapshot of it while it works, and what takes others.
private struct Rig {
    let machine: Machine
    let good: Snapshot

    init() {
        var description = MachineDescription()
        description.memory.host = 1 << 20
        description.virtualFunctions.total = 2
        description.virtualFunctions.enabled = 1
        description.virtualFunctions.disk.size = 1 << 20
        do throws(MachineError) {
            machine = try Machine(description, pace: .lockstep)
        } catch {
            fatalError("\(error)")
        }
        machine.advance(by: 10_000)
        good = machine.capture()
    }

    /// Takes a hostile snapshot, lets the device run if it does, and goes back to the good one.
    func take(_ hostile: () throws(SnapshotError) -> Snapshot) {
        do throws(SnapshotError) {
            try machine.restore(try hostile())
        } catch {
            // What was refused has left the machine as it was.
            return
        }
        machine.advance(by: 2000)
        do throws(SnapshotError) {
            try machine.restore(good)
        } catch {
            fatalError("a good snapshot is refused after a bad one: \(error)")
        }
    }
}

/// What models load: a good snapshot's bytes with changes.
struct ModelsTarget: FuzzTarget {
    private let rig = Rig()

    mutating func take(_ input: [UInt8]) {
        var models = rig.good.models
        for edit in Edit.all(input) { edit.apply(to: &models) }
        rig.take { () throws(SnapshotError) in rig.good.with(models: models) }
    }
}

/// Snapshot files: a good one's chunks with changes. Lengths and checksums are made right, unless a change is of the file as a whole.
struct SnapshotTarget: FuzzTarget {
    private typealias Chunk = (kind: [UInt8], contents: [UInt8])

    private let rig = Rig()
    private let head: [UInt8]
    private let chunks: [Chunk]

    init() {
        let file = rig.good.bytes
        var (chunks, start): ([Chunk], Int) = ([], 12)
        while start < file.count {
            let length = (0..<8).reduce(0) { $0 | Int(file[start + 4 + $1]) << (8 * $1) }
            chunks.append((Array(file[start..<start + 4]), Array(file[start + 16..<start + 16 + length])))
            start += 16 + length
        }
        head = Array(file[..<12])
        self.chunks = chunks
    }

    mutating func take(_ input: [UInt8]) {
        var chunks = chunks, whole: [Edit] = []
        for edit in Edit.all(input) {
            let index = chunks.isEmpty ? 0 : Int(edit.selector & 0xf) % chunks.count
            switch edit.selector >> 4 {
            case _ where chunks.isEmpty: break
            case 0...11: edit.apply(to: &chunks[index].contents)
            case 12: edit.apply(to: &chunks[index].kind)
            case 13: chunks.insert(chunks[index], at: edit.place % chunks.count)
            case 14: chunks.remove(at: index)
            default: whole.append(edit)
            }
        }
        var file = head
        for chunk in chunks {
            var sealed = chunk.kind
            withUnsafeBytes(of: UInt64(chunk.contents.count).littleEndian) { sealed += $0 }
            let sum = CRC32C.of(sealed + chunk.contents)
            withUnsafeBytes(of: sum.littleEndian) { sealed += $0 }
            file += sealed + chunk.contents
        }
        for edit in whole { edit.apply(to: &file) }
        rig.take { () throws(SnapshotError) in try Snapshot(bytes: file) }
    }
}
