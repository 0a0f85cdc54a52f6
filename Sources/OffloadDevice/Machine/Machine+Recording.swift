import Interconnect
import PCIExpress
import Peripherals
import Simulation
import Virtio

// A machine that is being recorded: docs/replay.md.

extension Machine {
    /// Records everything that comes from outside from now on: from power-on, or from a snapshot of the present.
    ///
    /// A trace or digest that was begun just before is part of the recording: its hash closes it.
    /// - Parameter folder: is made; an earlier recording in it is replaced.
    public func startRecording(folder: String) throws(RecordingError) {
        lock.lock()
        defer { lock.unlock() }
        if let journal { throw RecordingError("\(folder): expected no recording yet, found one in \(journal.folder)") }
        if let function = device.functions.first(where: { $0.device.state.hasFrontEnd }) {
            throw RecordingError("\(folder): expected no vhost-user front-end yet, found one at \(function.function.address)")
        }
        guard unseenWriters == 0 else {
            throw RecordingError("\(folder): expected nobody with a writable mapping of shared memory (BAR2), whose writes no recording "
                + "has, found \(unseenWriters) openings for writing")
        }
        let isPoweredOn = device.position == .start
        var captures: [String] = []
        let machine = try device.recordedDescription { (path) throws(RecordingError) in
            captures.append(path)
            return JournalLayout.captureName(captures.count - 1)
        }
        let header = RecordingHeader(
            registers: Recording.registers, machine: machine.yaml, externalDisks: device.externalDisks.map { UInt16($0.index) },
            hasOrigin: !isPoweredOn, hashesTrace: device.recorder.writer?.totals.events == 0)
        let writer = try JournalWriter(folder: folder, header, from: JournalBase(position: device.position))
        for (number, path) in captures.enumerated() {
            try JournalWriter.copy(path, to: "\(folder)/\(JournalLayout.captureName(number))")
        }
        let external = ExternalMemory(recordingTo: writer)
        let image: MemoryPages
        do throws(MemoryPagesError) {
            image = try MemoryPages(name: "outrigger-hostmem-image", size: device.hostMemory.size)
        } catch {
            throw RecordingError("\(error)")
        }
        if !isPoweredOn { try saveOrigin(machine, image, in: folder) }
        external.add(.hostMemory, device.hostMemory.bytes, image: image.bytes.baseAddress!)
        try device.connect(external)
        (hostMemoryImage, journal) = (image, writer)
        if header.hashesTrace { recordedTrace = device.recorder.writer }
        // Where it begins is known also of a recording that is cut off soon.
        writer.digest(device.recordedDigest)
        writer.flush()
        // Its thread ends before the machine goes.
        let flusher = JournalFlusher { [unowned(unsafe) self] in locked { _ in journal?.flush() } }
        writer.onBegin = { flusher.chunkBegan() }
        journalFlusher = flusher
    }

    /// Writes a snapshot of the present; `image` has host memory as that shows it.
    private func saveOrigin(_ machine: MachineDescription, _ image: MemoryPages, in folder: String) throws(RecordingError) {
        let origin = device.capture().of(machine)
        do throws(SnapshotError) {
            try origin.write(to: "\(folder)/\(JournalLayout.originName)")
        } catch {
            throw RecordingError("\(error)")
        }
        // The last of the memories.
        if let hostMemory = origin.memories.last { image.restore(hostMemory) }
    }

    /// Ends the recording.
    /// - Returns: why it ended before, if it did.
    @discardableResult
    public func stopRecording() -> RecordingError? {
        var flusher: JournalFlusher?
        // It takes the lock too.
        defer { flusher?.stop() }
        return locked { device in
            guard let journal else { return nil }
            swap(&flusher, &journalFlusher)
            var digest = device.recordedDigest
            if let trace = recordedTrace, trace === device.recorder.writer { digest.trace = trace.totals.hash }
            journal.finish(digest)
            (self.journal, recordedTrace) = (nil, nil)
            device.disconnectExternalMemory()
            hostMemoryImage = nil
            return journal.failure
        }
    }

    /// Writes down where the machine is, and all there is to write: a reader of the recording finds everything up to now.
    /// - Returns: why the recording has ended before, if it has.
    @discardableResult
    public func bringRecordingUpToDate() -> RecordingError? {
        locked { device in
            guard let journal else { return nil }
            journal.digest(device.recordedDigest)
            journal.flush()
            return journal.failure
        }
    }

    /// Somebody wants to write to shared memory without an access, by a mapping.
    /// - Returns: false while a recording runs, which would not have these writes. Otherwise none begins before ``unseenWriterLeft()``.
    public func admitUnseenWriter() -> Bool {
        locked { _ in
            if journal == nil { unseenWriters += 1 }
            return journal == nil
        }
    }

    public func unseenWriterLeft() { locked { _ in unseenWriters -= 1 } }
}

extension Device {
    /// What a digest says here.
    var recordedDigest: RecordedDigest {
        RecordedDigest(
            position: position, operations: hierarchy.iommu.externalMemory?.operations ?? 0, state: stateHash)
    }

    /// The functions whose disks are files.
    var externalDisks: [VirtioFunction] { functions.filter { $0.externalBackend != nil } }

    /// The description of a device that has the files' sizes instead of the files, and copies of capture files.
    /// - Parameter copy: copies a capture file; what it is called in the recording.
    func recordedDescription(copy: (_ path: String) throws(RecordingError) -> String) throws(RecordingError) -> MachineDescription {
        func record(_ disk: inout MachineDescription.Disk, _ index: Int?) {
            guard disk.file != nil else { return }
            disk.file = nil
            disk.size = index.flatMap { virtioFunction($0)?.block?.backend.byteCount } ?? 512
        }
        func record(_ network: inout MachineDescription.Network) throws(RecordingError) {
            guard case .capture(let input?, _) = network.backend else { return }
            network.backend = .capture(input: try copy(input), output: nil)
        }
        var recording = description
        let virtual = description.virtualFunctions
        record(&recording.virtualFunctions.disk, (1...virtual.total).first { virtual.disks[$0] == nil })
        for number in virtual.disks.keys.sorted() { record(&recording.virtualFunctions.disks[number]!, number) }
        try record(&recording.virtualFunctions.network)
        for number in virtual.networks.keys.sorted() { try record(&recording.virtualFunctions.networks[number]!) }
        for place in recording.physicalFunctions.indices {
            let index = HierarchyDescription.index(ofFurther: recording.physicalFunctions[place].number)
            record(&recording.physicalFunctions[place].settings.disk, index)
            try record(&recording.physicalFunctions[place].settings.network)
        }
        return recording
    }

    /// Makes inputs of what others' memory and files are found to hold.
    func connect(_ external: ExternalMemory) throws(RecordingError) {
        for function in externalDisks {
            do throws(BackendError) {
                try function.externalBackend?.connect(to: external)
            } catch {
                throw RecordingError("\(error)")
            }
        }
        dropClients()
        hierarchy.iommu.externalMemory = external
    }

    /// What is found of clients' memory from now on is an input, or no longer one.
    private func dropClients() {
        for function in hierarchy.all { function.domain?.dropClient() }
    }

    func disconnectExternalMemory() {
        dropClients()
        hierarchy.iommu.externalMemory = nil
        for function in externalDisks { function.externalBackend?.disconnect() }
    }
}
