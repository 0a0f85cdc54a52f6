import Simulation

// What of a hierarchy a snapshot has: the registers of each function, MSI-X tables, mappings, faults and counts. Where the BARs are, which
// bits can be written, what is decoded, how many virtual functions there are and whether the link is up follow from the description and
// from these. Loading signals nothing.

extension PCIHierarchy: ArchivedModel {
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("pci") { (archive, _) throws(SnapshotError) in
            for function in all {
                try archive.section("\(function.address)") { (archive, _) throws(SnapshotError) in
                    try function.archive(&archive)
                    try function.domain?.archive(&archive)
                }
            }
            try archive.section("iommu") { (archive, _) throws(SnapshotError) in try archive.state(&iommu.state) }
        }
        if archive.isLoading { stateLoaded() }
    }
}

extension PCIFunction {
    fileprivate func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try state.space.archive(&archive)
        if archive.isLoading { try checkRegisters(archive) }
        if state.msix != nil { try state.msix!.archive(&archive) }
        try archive.flag(&state.line)
        try archive.flag(&state.signaledLine)
        try archive.integers(&state.errors.correctable)
        try archive.integers(&state.errors.nonFatal)
        try archive.integers(&state.errors.fatal)
        try archive.integer(&state.refusedAccesses)
        try archive.integers(&state.receivedMessages)
        try archive.flag(&state.isEnabledFromHost)
    }

    /// What software can't write and hardware doesn't set is as the description has it.
    private func checkRegisters(_ archive: borrowing StateArchive) throws(SnapshotError) {
        if let offset = offsets.virtualization {
            let size = state.space.dword(offset + SingleRootVirtualization.systemPageSize)
            guard size & VirtualFunctionRouting.pageSizes == size, size.nonzeroBitCount == 1 else {
                throw archive.error("expected one of the system page sizes 0x\(hex(VirtualFunctionRouting.pageSizes, 1)), "
                    + "found 0x\(hex(size, 1))")
            }
            resizeVFBARs()
        }
        if let offset = state.space.firstMismatch(setByHardware: setByHardware) {
            throw archive.error("expected the read-only bits of register 0x\(hex(UInt32(offset), 3)) as the description has them, "
                + "found 0x\(hex(state.space.dword(offset), 8))")
        }
    }

    /// Bits, by dword, that neither software writes nor the description fixes.
    private var setByHardware: [Int: UInt32] {
        typealias AER = AdvancedErrorReporting
        var bits = [Header.command: UInt32(Status.interrupt) << 16]
        if let express = offsets.express {
            bits[express + Express.linkControl] = UInt32(Express.dataLinkActive) << 16
            if role == .rootPort { bits[express + Express.slotControl] = UInt32(Express.presenceDetect) << 16 }
        }
        if let aer = offsets.advancedErrors {
            bits[aer + AER.control] = 0x1f
            for word in 0..<4 { bits[aer + AER.headerLog + 4 * word] = ~0 }
            if role == .rootPort { bits[aer + AER.errorSource] = ~0 }
        }
        return bits
    }
}

extension ConfigurationSpace {
    fileprivate mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        var copy = bytes
        try archive.sparseIntegers(&copy, block: 64)
        if archive.isLoading { replace(copy) }
    }
}

extension DMADomain {
    /// A mapping as it is stored: without the pointer.
    private struct StoredMapping: ArchivedState {
        var address: UInt64 = 0
        var count: UInt64 = 0
        var isReadable = false
        var isWritable = false
        var origin = DMAMapping.Origin.machine

        mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
            try archive.integer(&address)
            try archive.integer(&count)
            try archive.flag(&isReadable)
            try archive.flag(&isWritable)
            try archive.raw(&origin)
        }
    }

    /// The machine's mappings are loaded if this process has their memory, and so are a front-end's; a domain that was lent to a front-end
    /// which isn't here has none. A client's are found anew when DMA meets them; only a replay stores them, since it has no client, with
    /// all that it knows of their memory.
    fileprivate func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        let isReplay = iommu.externalMemory?.isReplaying ?? false
        let kept = state.mappings.filter { $0.origin != .client || isReplay }
        var stored = kept.map {
            StoredMapping(
                address: $0.address, count: $0.count, isReadable: $0.isReadable, isWritable: $0.isWritable, origin: $0.origin)
        }
        try archive.array(&stored, limit: 1 << 16, blank: StoredMapping()) { (archive, mapping) throws(SnapshotError) in
            try archive.state(&mapping)
        }
        try archive.integer(&state.faultCount)
        guard archive.isLoading else {
            for mapping in kept where mapping.origin == .client { _ = try mapping.archivedImage(&archive) }
            return
        }
        let sources = machineMappings + state.mappings.filter { $0.origin == .frontEnd }
        state.mappings = []
        state.isLent = stored.contains { $0.origin == .frontEnd }
        for mapping in stored {
            var loaded: DMAMapping?
            if mapping.origin != .client {
                loaded = Self.memory(of: mapping, in: sources).map {
                    DMAMapping(
                        address: mapping.address, count: mapping.count, memory: $0, isReadable: mapping.isReadable,
                        isWritable: mapping.isWritable, origin: mapping.origin)
                }
            } else {
                loaded = try DMAMapping(
                    address: mapping.address, count: mapping.count, memory: nil, isReadable: mapping.isReadable,
                    isWritable: mapping.isWritable, origin: .client
                ).archivedImage(&archive)
            }
            if loaded == nil, mapping.origin == .frontEnd, !isReplay { continue }
            guard let loaded else {
                throw archive.error("expected a DMA mapping of the \(mapping.origin)'s memory, found \(mapping.count) bytes at "
                    + "0x\(hex(mapping.address, 1)), which this process doesn't have")
            }
            guard loaded.origin != .client || isReplay else { continue }
            do throws(DMAMappingError) {
                try insert(loaded)
            } catch {
                throw archive.error("\(error)")
            }
        }
    }

    private static func memory(of mapping: StoredMapping, in sources: [DMAMapping]) -> UnsafeMutableRawPointer? {
        for source in sources where source.origin == mapping.origin && mapping.address >= source.address {
            let offset = mapping.address - source.address
            guard offset < source.count, mapping.count <= source.count - offset, source.isReadable || !mapping.isReadable,
                source.isWritable || !mapping.isWritable
            else { continue }
            return source.memory.map { $0 + Int(offset) }
        }
        // A machine of an earlier version had its memory at another address; its drivers know that one.
        return sources.first { $0.origin == .machine && mapping.origin == .machine && $0.count == mapping.count }?.memory
    }
}

extension DMAMapping {
    /// Saves what is known of a client's memory, or loads it: the mapping with that image. Nil if there is no place for it.
    fileprivate func archivedImage(_ archive: inout StateArchive) throws(SnapshotError) -> DMAMapping? {
        typealias Block = (offset: UInt64, bytes: [UInt8])
        var isRemote = isRemote
        try archive.flag(&isRemote)
        let loaded = archive.isLoading ? DMAMapping(
            imageAt: address, count: count, isReadable: isReadable, isWritable: isWritable, isRemote: isRemote) : nil
        var blocks: [Block] = archive.isLoading ? [] : knownBlocks.map { (UInt64($0.lowerBound), Array(image!.bytes[$0])) }
        let start = UInt64(imageStart)
        for index in blocks.indices { blocks[index].offset -= start }
        let limit = archive.isLoading ? count : .max
        try archive.array(&blocks, limit: 1 << 28, blank: (0, [])) { (archive, block) throws(SnapshotError) in
            try archive.integer(&block.offset)
            try archive.bytes(&block.bytes, limit: ClientImage.block)
            try archive.require(
                block.offset < limit && UInt64(block.bytes.count) <= limit - block.offset,
                "expected a part of \(limit) bytes, found \(block.bytes.count) at \(block.offset)")
        }
        guard let image = loaded?.image else { return nil }
        for block in blocks where !block.bytes.isEmpty {
            image.known(Int(block.offset), block.bytes.count).copyBytes(from: block.bytes)
        }
        return loaded
    }

    /// The places in the image that are this mapping's and may not be zero.
    private var knownBlocks: [Range<Int>] {
        guard let image else { return [] }
        let all = imageStart..<imageStart + Int(count)
        return image.blocks.map { ($0 * ClientImage.block..<($0 + 1) * ClientImage.block).clamped(to: all) }.filter { !$0.isEmpty }
    }
}

extension IOMMU.State: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        let blank = DMAFault(function: 0, address: 0, count: 0, isWrite: false, cause: .unmapped, cycle: 0)
        try archive.array(&faults, limit: IOMMU.recordLimit, blank: blank) { (archive, fault) throws(SnapshotError) in
            try archive.integer(&fault.function, in: 0...HierarchyDescription.indexLimit - 1)
            try archive.integer(&fault.address)
            try archive.integer(&fault.count, in: 0...Int.max)
            try archive.flag(&fault.isWrite)
            try archive.raw(&fault.cause)
            try archive.integer(&fault.cycle)
        }
        try archive.integer(&faultCount)
    }
}
