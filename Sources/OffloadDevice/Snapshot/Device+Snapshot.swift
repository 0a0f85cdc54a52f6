import Peripherals
import RISCV
import Simulation
import Virtio

// What a device's state consists of, and how it is saved and replaced.

extension Device: ArchivedModel {
    /// The models in the order of the format's sections. Device time comes first, since deadlines are armed in it; what a model looks at
    /// while it loads comes before it.
    private var models: [any ArchivedModel] {
        var models: [any ArchivedModel] = [core, crossbar, toHost, fromHost, cores, buffers]
        for slots in [gpu, fpga].compactMap({ $0 }) { models.append(slots) }
        for hart in harts { models.append(hart) }
        let blocks: [any ArchivedModel] = [
            aclint, plic, uart, watchdog, systemController, fabric, analyzer, resourceManager, componentController, mailbox, log, audit,
            sram,
        ]
        models += blocks
        models.append(hierarchy)
        for function in functions {
            models.append(function.device)
            models.append(function.transport)
            if let legacy = function.legacy { models.append(legacy) }
        }
        models.append(ethernet)
        models.append(interrupts)
        models.append(recorder)
        return models
    }

    /// Everything but the contents of memories and disks.
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("device", version: 2) { (archive, version) throws(SnapshotError) in
            try archive.require(version == 2, "expected version 2, found \(version)")
            try scheduler.archive(&archive)
            try archive.flag(&hasFirmware)
            for model in models { try model.archive(&archive) }
        }
    }

    /// The memories in the order of snapshots, and where harts see them, if they do.
    private var memories: [(pages: MemoryPages, base: UInt64?)] {
        let bus = DeviceBus.firmware.map
        return [
            (rom.pages, bus.memory("ROM").offset), (sram.memory.pages, bus.memory("SRAM").offset), (shared.pages, Self.sharedBase),
            (hostMemory, nil),
        ]
    }

    // MARK: Snapshots

    /// The device's state at this moment, which must not be in the middle of an access.
    ///
    /// Pages that didn't change since the last snapshot that was made or gone back to are shared with that one.
    public func capture() -> Snapshot {
        let images = zip(memories, knownImages).map { $0.pages.capture(after: $1) }
        knownImages = images
        return Snapshot(description: description, cycle: scheduler.now, models: savedModels(), memories: images, disks: disks)
    }

    /// Puts the device into the state of a snapshot, of this device or of another of the same description.
    ///
    /// Memory is changed in place, and only where it differs: who has mapped it goes on to see it. Whoever observes the device (traces,
    /// a debugger, interrupt handlers) stays, and is told nothing.
    /// - Throws: why the snapshot can't be taken; the device is as it was before.
    public func restore(_ snapshot: Snapshot) throws(SnapshotError) {
        try check(snapshot)
        let before = savedModels()
        do throws(SnapshotError) {
            try loadModels(snapshot.models)
        } catch {
            do throws(SnapshotError) {
                try loadModels(before)
            } catch let second {
                preconditionFailure("a device doesn't take its own state: \(second)")
            }
            throw error
        }
        for ((pages, base), image) in zip(memories, snapshot.memories) {
            pages.restore(image) { offset, count in
                if let base { core.memory.wasWritten(UInt32(base) + UInt32(offset), bytes: count) }
            }
        }
        knownImages = snapshot.memories
        for (function, disk) in zip(blockFunctions, snapshot.disks) {
            guard let contents = disk.contents else { continue }
            if let memory = function.block?.backend as? MemoryBackend { memory.state = contents }
            function.externalBackend?.known = contents
        }
    }

    private func savedModels() -> [UInt8] {
        var archive = StateArchive()
        do throws(SnapshotError) {
            try self.archive(&archive)
        } catch {
            preconditionFailure("saving refuses nothing: \(error)")
        }
        return archive.bytes
    }

    private func loadModels(_ bytes: [UInt8]) throws(SnapshotError) {
        var archive = StateArchive(loading: bytes)
        try self.archive(&archive)
        try archive.finish()
    }

    private var blockFunctions: [VirtioFunction] { functions.filter { $0.block != nil } }

    private var disks: [Snapshot.Disk] {
        functions.compactMap { function in
            guard let backend = function.block?.backend else { return nil }
            let contents = (backend as? MemoryBackend)?.state ?? function.externalBackend?.known
            return Snapshot.Disk(byteCount: backend.byteCount, contents: contents)
        }
    }

    /// Whether a snapshot is one of such a device.
    private func check(_ snapshot: Snapshot) throws(SnapshotError) {
        if snapshot.description != description {
            let (mine, other) = (description.yaml.split(separator: "\n"), snapshot.description.yaml.split(separator: "\n"))
            let place = zip(mine, other).enumerated().first { $1.0 != $1.1 }?.offset ?? min(mine.count, other.count)
            func line(_ lines: [Substring]) -> String { place < lines.count ? "'\(lines[place])'" : "nothing" }
            throw SnapshotError("snapshot: expected one of this machine with \(line(mine)), found \(line(other))")
        }
        // The sizes of memories and of disks in memory follow from the description.
        for (function, disk) in zip(blockFunctions, snapshot.disks) {
            guard let found = function.block?.backend.byteCount, found != disk.byteCount else { continue }
            throw SnapshotError(
                "snapshot: disk of \(function.function.address): expected \(disk.byteCount) bytes, found a file of \(found)")
        }
    }
}
