extension PCIFunction {
    /// Returns the function to what the kind of reset leaves, drops its client's memory and tells the device model.
    func reset(_ kind: FunctionReset) {
        switch kind {
        case .functionLevel: state.space.reset(.functionLevel)
        case .conventional: state.space.reset(.conventional)
        case .virtualization:
            state.space = initial.space
            state.isEnabledFromHost = initial.isEnabledFromHost
        case .power:
            state.space = initial.space
            state.isEnabledFromHost = false
        }
        state.msix?.reset()
        state.line = false
        updateLine()
        resizeVFBARs()
        domain?.dropClient()
        hierarchy.delegate?.functionReset(index, kind)
    }

    /// Shows in a port's link status whether the data link is active.
    func showLink(_ isUp: Bool) {
        guard let express = offsets.express else { return }
        state.space.setBits(express + Express.linkStatus, Express.dataLinkActive, isUp)
    }

    /// Notes in a port's slot status that something about its slot has changed (PCI Express Base 5.0, 7.5.3.11).
    func noteSlotChange(_ change: UInt16) { state.space.setBits(offsets.express! + Express.slotStatus, change) }

    /// Whether a port's slot has a card in it.
    var hasCard: Bool { state.space.word(offsets.express! + Express.slotStatus) & Express.presenceDetect != 0 }

    func showCard(_ isPresent: Bool) {
        guard isPresent != hasCard else { return }
        state.space.setBits(offsets.express! + Express.slotStatus, Express.presenceDetect, isPresent)
        noteSlotChange(Express.presenceDetectChanged)
    }
}

extension PCIHierarchy {
    /// Resets a function as Linux does for the `reset` file: FLR, with what the kernel configured put back afterwards.
    /// - Returns: false if the function can't be reset.
    @discardableResult
    public func resetFromHost(_ function: PCIFunction) -> Bool {
        guard function.isPresent, forwardsConfiguration, function.domain != nil else { return false }
        let saved = function.space
        functionLevelReset(function)
        function.restoreRegisters(saved)
        return true
    }
}

extension PCIFunction {
    /// Writes back the registers that Linux saves over a reset. MSI-X stays off: a user-space driver set it up, not the kernel.
    fileprivate func restoreRegisters(_ saved: ConfigurationSpace) {
        typealias SRIOV = SingleRootVirtualization
        func restore(_ offset: Int, _ size: Int) {
            writeConfiguration(offset, size: size, size == 4 ? saved.dword(offset) : UInt32(saved.word(offset)))
        }
        if let express = offsets.express {
            let control = saved.word(express + Express.deviceControl) & ~Express.initiateFunctionLevelReset
            writeConfiguration(express + Express.deviceControl, size: 2, UInt32(control))
            for register in [Express.linkControl, Express.deviceControl2, Express.linkControl2] { restore(express + register, 2) }
        }
        for offset in [offsets.addressTranslation, offsets.processAddressSpace] { if let offset { restore(offset + 6, 2) } }
        for register in stride(from: 0x3c, through: Header.cacheLineSize, by: -4) { restore(register, 4) }
        if let sriov = offsets.virtualization {
            restore(sriov + SRIOV.systemPageSize, 4)
            for bar in 0..<6 { restore(sriov + SRIOV.vfBAR0 + 4 * bar, 4) }
            restore(sriov + SRIOV.numVFs, 2)
            restore(sriov + SRIOV.control, 2)
        }
        restore(Header.command, 2)
    }
}
