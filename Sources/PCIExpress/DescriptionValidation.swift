extension HierarchyDescription {
    /// Finds the first mistake in the description.
    public func validate() throws(PCIDescriptionError) {
        guard (0...Self.maximumVFs).contains(totalVFs) else {
            throw PCIDescriptionError(place: "hierarchy", expected: "0 to \(Self.maximumVFs) virtual functions", found: "\(totalVFs)")
        }
        try physicalFunction.validate("physical function", isVirtual: false)
        if totalVFs > 0 {
            try virtualFunction.validate("virtual function", isVirtual: true)
            guard virtualFunction.vendorID == physicalFunction.vendorID else {
                throw PCIDescriptionError(
                    place: "virtual function", expected: "the physical function's vendor id 0x\(hex(physicalFunction.vendorID, 4))",
                    found: "0x\(hex(virtualFunction.vendorID, 4))")
            }
        }
        var seen: [Int] = []
        for further in furtherFunctions {
            guard (1...7).contains(further.number), !seen.contains(further.number) else {
                throw PCIDescriptionError(
                    place: "hierarchy", expected: "further functions with different numbers 1 to 7", found: "\(further.number)")
            }
            seen.append(further.number)
            try further.function.validate("function \(further.number)", isVirtual: false)
        }
    }
}

extension FunctionDescription {
    func validate(_ place: String, isVirtual: Bool) throws(PCIDescriptionError) {
        func mistake(_ expected: String, _ found: String) -> PCIDescriptionError {
            PCIDescriptionError(place: place, expected: expected, found: found)
        }
        var taken: [Int] = []
        for bar in bars {
            let indices = bar.is64Bit ? [bar.index, bar.index + 1] : [bar.index]
            guard indices.allSatisfy({ (0..<6).contains($0) && !taken.contains($0) }) else {
                throw mistake("BARs in different registers 0 to 5 (64-bit ones take two)", "BAR \(bar.index)")
            }
            taken += indices
            let limits: ClosedRange<UInt64> = switch bar.kind {
            case .io: 4...256
            case .memory32, .memory64: 16...(256 << 20)
            case .prefetchable64: 16...(1 << 36)
            }
            guard bar.size.nonzeroBitCount == 1, limits.contains(bar.size) else {
                throw mistake("BAR \(bar.index): a power of two in \(limits.lowerBound)...\(limits.upperBound) bytes", "\(bar.size)")
            }
            guard !(isVirtual && bar.kind == .io) else { throw mistake("memory BARs only", "I/O BAR \(bar.index)") }
        }
        if let msix {
            guard (1...2048).contains(msix.vectors) else { throw mistake("1 to 2048 MSI-X vectors", "\(msix.vectors)") }
            guard let bar = bars.first(where: { $0.index == msix.bar }), bar.kind != .io else {
                throw mistake("MSI-X structures in a memory BAR", "BAR \(msix.bar)")
            }
            let table = MSIXTable(msix)
            guard msix.tableOffset % 8 == 0, msix.pendingOffset % 8 == 0, msix.tableOffset < bar.size, msix.pendingOffset < bar.size,
                table.tableRange.upperBound <= bar.size, table.pendingRange.upperBound <= bar.size,
                !table.tableRange.overlaps(table.pendingRange)
            else {
                throw mistake(
                    "MSI-X table and pending bits apart, 8-byte aligned, within the \(bar.size) bytes of BAR \(bar.index)",
                    "table at \(msix.tableOffset), pending bits at \(msix.pendingOffset), \(msix.vectors) vectors")
            }
        }
        if let virtio {
            guard let bar = bars.first(where: { $0.index == virtio.bar }), bar.kind != .io else {
                throw mistake("virtio structures in a memory BAR", "BAR \(virtio.bar)")
            }
            for region in [virtio.common, virtio.isr, virtio.device, virtio.notification] {
                guard UInt64(region.offset) + UInt64(region.length) <= bar.size else {
                    throw mistake(
                        "virtio structures within the \(bar.size) bytes of BAR \(bar.index)", "\(region.length) bytes at \(region.offset)")
                }
            }
        }
        guard vendorSpecific.count <= 64 else {
            throw mistake("at most 64 dwords of vendor-specific capability", "\(vendorSpecific.count)")
        }
        guard interruptPin <= 4, !(isVirtual && interruptPin != 0) else {
            throw mistake(isVirtual ? "no interrupt pin" : "an interrupt pin 0 to 4", "\(interruptPin)")
        }
    }
}
