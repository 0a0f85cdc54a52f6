import Registers

extension PCIFunction {
    /// An access of the host to BAR `bar`; `access.address` is relative to the BAR.
    ///
    /// What is refused reads all ones (a write is dropped), is counted and reported as an error by whoever would have found it, unless
    /// a debugger did it. The status says why.
    func accessBAR(_ bar: Int, _ access: inout BusAccess) -> BusStatus {
        guard decoders.indices.contains(bar), let decoder = decoders[bar] else {
            return refuse(&access, .unmapped, at: 0, isIO: false)
        }
        let offset = access.address
        let size = UInt64(access.size)
        let isIO = decoder.bar.kind == .io
        let status: BusStatus
        if !decoder.isEnabled {
            status = .unmapped
        } else if size == 0 || size & (size - 1) != 0 || size > (isIO ? 4 : 8) {
            status = .wrongSize
        } else if offset & (size - 1) != 0 {
            status = .misaligned
        } else if offset >= decoder.bar.size {
            status = .unmapped
        } else {
            status = reach(decoder, &access)
        }
        if status == .ok { return .ok }
        return refuse(&access, status, at: decoder.base &+ offset, isIO: isIO, forwarded: decoder.isForwarded)
    }

    /// Hands an access in range to the MSI-X structures or to the target behind the BAR.
    func reach(_ decoder: Decoder, _ access: inout BusAccess) -> BusStatus {
        if decoder.holdsMSIX, let msix = state.msix {
            let offset = access.address, size = Int(access.size)
            if msix.tableRange.contains(offset) || msix.pendingRange.contains(offset) { return accessMSIX(offset, size, &access) }
        }
        guard let target = decoder.target else { return .unmapped }
        return target.access(&access)
    }

    /// MSI-X structures take dwords and qwords (7.7.2.2); the pending bits can't be written. Only offsets within
    /// them come here, so that `state.msix` is there.
    private func accessMSIX(_ offset: UInt64, _ size: Int, _ access: inout BusAccess) -> BusStatus {
        guard let value = state.msix!.read(offset, size: size) else { return .wrongSize }
        guard access.isWrite else {
            access.value = value
            return .ok
        }
        guard state.msix!.tableRange.contains(offset) else { return .readOnly }
        state.msix!.write(offset, size: size, access.value)
        deliverPending()
        return .ok
    }

    /// What a read of BAR `bar` would return, without side effects and whether or not the BAR is enabled.
    func peekBAR(_ bar: Int, _ offset: UInt64, size: Int) -> UInt64? {
        guard decoders.indices.contains(bar), let decoder = decoders[bar], size > 0, offset < decoder.bar.size,
            UInt64(size) <= decoder.bar.size - offset
        else { return nil }
        if decoder.holdsMSIX, let msix = state.msix, msix.tableRange.contains(offset) || msix.pendingRange.contains(offset) {
            return offset % UInt64(size) == 0 ? msix.read(offset, size: size) : nil
        }
        return decoder.target?.peek(offset, size: size)
    }

    private func refuse(
        _ access: inout BusAccess, _ status: BusStatus, at address: UInt64, isIO: Bool, forwarded: Bool = true
    ) -> BusStatus {
        if !access.isWrite { access.value = access.size >= 8 ? .max : (1 << UInt64(8 * access.size)) &- 1 }
        if access.initiator.kind == .debugger { return status }
        state.refusedAccesses &+= 1
        let header = TransactionHeader(address: address, size: Int(access.size), isWrite: access.isWrite, isIO: isIO)
        let error: UncorrectableError = switch status {
        case .denied: .completerAbort
        case .uncorrectable: .uncorrectableInternal
        default: .unsupportedRequest
        }
        hierarchy.detector(of: self, forwarded: forwarded).report(error, header)
        hierarchy.violations?.refused(.access, to: owner, holder: .device, address: address, at: access.time)
        return status
    }
}
