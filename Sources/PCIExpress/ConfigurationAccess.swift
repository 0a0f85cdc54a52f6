import Registers

extension PCIFunction {
    /// Reads configuration space from `offset` into `buffer`, all at one moment. A read of virtio's window data performs the access
    /// that the window describes.
    /// - Returns: bytes read: less than asked for at the end of the space. An absent function reads all ones.
    @discardableResult
    public func readConfiguration(_ offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = Self.clip(offset, buffer.count)
        if isReachable, let window = offsets.virtioWindow, offset < window + 20, offset + count > window + 16 {
            performWindowAccess(isWrite: false)
        }
        return peekConfiguration(offset, into: buffer)
    }

    /// What ``readConfiguration(_:into:)`` would read, without any side effect.
    @discardableResult
    public func peekConfiguration(_ offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = Self.clip(offset, buffer.count)
        guard let base = buffer.baseAddress, count > 0 else { return 0 }
        if isReachable {
            state.space.bytes.withUnsafeBytes { base.copyMemory(from: $0.baseAddress! + offset, byteCount: count) }
        } else {
            base.initializeMemory(as: UInt8.self, repeating: 0xff, count: count)
        }
        return count
    }

    /// Writes configuration space. As Linux does it: naturally aligned bytes, words and dwords, lowest address first, each with
    /// all its effects before the next.
    /// - Returns: bytes taken: less than given at the end of the space. An absent function takes them and forgets them.
    @discardableResult
    public func writeConfiguration(_ start: Int, _ bytes: UnsafeRawBufferPointer) -> Int {
        let count = Self.clip(start, bytes.count)
        var offset = start
        let end = start + count
        while offset < end {
            let left = end - offset
            let size = offset & 1 != 0 || left < 2 ? 1 : offset & 3 != 0 || left < 4 ? 2 : 4
            var value: UInt32 = 0
            for i in 0..<size { value |= UInt32(bytes[offset - start + i]) << UInt32(8 * i) }
            if isReachable { writeRegister(offset, size: size, value) }
            offset += size
        }
        return count
    }

    /// Reads 1, 2 or 4 bytes; all ones past the end.
    public func readConfiguration(_ offset: Int, size: Int) -> UInt32 {
        var value: UInt32 = .max
        withUnsafeMutableBytes(of: &value) {
            _ = readConfiguration(offset, into: UnsafeMutableRawBufferPointer(rebasing: $0[..<min(size, 4)]))
        }
        return size >= 4 ? value : value & ((1 << UInt32(8 * size)) &- 1)
    }

    /// Writes 1, 2 or 4 bytes.
    public func writeConfiguration(_ offset: Int, size: Int, _ value: UInt32) {
        withUnsafeBytes(of: value.littleEndian) { _ = writeConfiguration(offset, UnsafeRawBufferPointer(rebasing: $0[..<min(size, 4)])) }
    }

    private static func clip(_ offset: Int, _ count: Int) -> Int {
        offset < 0 || offset >= ConfigurationSpace.size ? 0 : min(count, ConfigurationSpace.size - offset)
    }

    // MARK: Side effects

    /// One aligned write with its effects. It never crosses a dword.
    private func writeRegister(_ offset: Int, size: Int, _ value: UInt32) {
        let register = offset & ~3
        let old = state.space.dword(register)
        /// The 16 bits at `word` as written: zero where this write doesn't reach.
        func written(_ word: Int) -> UInt16 {
            let wide = UInt64(value) << UInt64(8 * (offset - register))
            return UInt16(truncatingIfNeeded: wide >> UInt64(8 * (word - register)))
        }
        if isLocked(register) { return }
        // Where a virtual function answers is the physical function's to say (9.3.4.1.11).
        if isVirtual, (Header.bar0..<Header.bar0 + 0x18).contains(register), value != 0 {
            hierarchy.violations?.refused(
                .configuration, to: owner, holder: .host, address: UInt64(offset), at: hierarchy.scheduler.now)
        }
        state.space.write(offset, size: size, value)

        if let pm = offsets.powerManagement, register == pm + PowerManagement.control {
            // A state that the function doesn't have is not entered (PCI Power Management 1.2, 3.2.4).
            if powerState == 1 || powerState == 2 { state.space.set(register, size: 4, old) }
            hierarchy.refresh()
        } else if let express = offsets.express, register == express + Express.deviceControl {
            // The bit always reads zero (7.5.3.4).
            if role != .rootPort, written(register) & Express.initiateFunctionLevelReset != 0 { hierarchy.functionLevelReset(self) }
        } else if let msix = offsets.msix, register == msix {
            updateLine()
            deliverPending()
        } else if let sriov = offsets.virtualization, (sriov + 8..<sriov + 0x3c).contains(register) {
            virtualizationWritten(register - sriov, old)
        } else if let window = offsets.virtioWindow, register == window + 16 {
            performWindowAccess(isWrite: true)
        } else if register < 0x40 || (role == .rootPort && register == offsets.express! + Express.linkControl) {
            if role == .rootPort { hierarchy.linkWritten() }
            // Everything below a bridge depends on its header; nothing but itself on an endpoint function's.
            if isBridge { hierarchy.refresh() } else { refresh() }
        }
    }

    /// NumVFs and the system page size keep their values while VFs are enabled (9.3.3.8, 9.3.3.13).
    private func isLocked(_ register: Int) -> Bool {
        guard let offset = offsets.virtualization, isVFEnabled else { return false }
        return register == offset + SingleRootVirtualization.numVFs || register == offset + SingleRootVirtualization.systemPageSize
    }

    var isVFEnabled: Bool {
        guard let offset = offsets.virtualization else { return false }
        return state.space.word(offset + SingleRootVirtualization.control) & SingleRootVirtualization.vfEnable != 0
    }

    /// A register of the SR-IOV capability was written; `old` is what it held.
    private func virtualizationWritten(_ register: Int, _ old: UInt32) {
        typealias SRIOV = SingleRootVirtualization
        let offset = offsets.virtualization!
        if register == SRIOV.systemPageSize {
            // Exactly one of the supported sizes.
            if state.space.dword(offset + register).nonzeroBitCount != 1 { state.space.set(offset + register, size: 4, old) }
            resizeVFBARs()
        }
        hierarchy.virtualFunctionsWritten()
        hierarchy.refresh()
    }

    /// A VF BAR claims whole system pages, so its size as software finds it follows the page size.
    func resizeVFBARs() {
        guard let offset = offsets.virtualization else { return }
        for bar in hierarchy.description.virtualFunction.bars {
            let (low, high) = ConfigurationBuilder.baseAddressMasks(bar, size: apertureSize(bar))
            let register = offset + SingleRootVirtualization.vfBAR0 + 4 * bar.index
            state.space.setWritable(register, low, readOnly: bar.encoding)
            if bar.is64Bit { state.space.setWritable(register + 4, high, readOnly: 0) }
        }
    }

    // MARK: Virtio's window into the BARs

    /// Performs the access that the VIRTIO_PCI_CAP_PCI_CFG capability describes (virtio 1.2, 4.1.4.9). It works without the BAR being
    /// mapped or enabled. What it can't do reads as all ones.
    private func performWindowAccess(isWrite: Bool) {
        let window = offsets.virtioWindow!
        let bar = Int(state.space.byte(window + 4))
        let offset = UInt64(state.space.dword(window + 8))
        let size = Int(truncatingIfNeeded: state.space.dword(window + 12))
        guard size == 1 || size == 2 || size == 4 else { return }
        let mask: UInt32 = size == 4 ? .max : (1 << UInt32(8 * size)) - 1
        let data = state.space.dword(window + 16)
        let initiator = Initiator.host(function: index), now = hierarchy.scheduler.now
        var access = isWrite
            ? BusAccess(write: UInt64(data & mask), to: offset, size: size, initiator: initiator, time: now)
            : BusAccess(read: offset, size: size, initiator: initiator, time: now)
        var status = BusStatus.unmapped
        if isAwake, decoders.indices.contains(bar), let decoder = decoders[bar], offset % UInt64(size) == 0, offset < decoder.bar.size {
            status = reach(decoder, &access)
        }
        if status != .ok { hierarchy.violations?.refused(.access, to: owner, holder: .device, address: offset, at: now) }
        guard !isWrite else { return }
        let value = status == .ok ? UInt32(truncatingIfNeeded: access.value) : .max
        state.space.set(window + 16, size: 4, data & ~mask | value & mask)
    }
}
