/// What platform firmware and Linux do before a driver sees the hierarchy.
extension PCIHierarchy {
    /// Host memory and I/O that root port windows are cut from.
    private static let ioBase: UInt64 = 0xc000, ioEnd: UInt64 = 0x1_0000
    private static let memoryBase: UInt64 = 0xc000_0000, memoryEnd: UInt64 = 0xfe00_0000
    private static let prefetchableBase: UInt64 = 0x38_0000_0000

    /// A BAR, or all virtual functions' BARs of one index, waiting for an address.
    private struct Request {
        var function: PCIFunction
        var bar: BARDescription
        /// Index in `PCIFunction.State.assigned`.
        var slot: Int
        var alignment: UInt64
        var size: UInt64
    }

    func configure() throws(PCIDescriptionError) {
        let port = rootPort
        port.state.space.write(BridgeHeader.secondaryBus, size: 1, 1)
        port.state.space.write(BridgeHeader.subordinateBus, size: 1, 1)
        try assignResources()
        port.state.space.write(BridgeHeader.control, size: 2, UInt32(BridgeControl.systemError))
        let portCommand = Command.ioSpace | Command.memorySpace | Command.busMaster | Command.systemError | Command.interruptDisable
        port.state.space.write(Header.command, size: 2, UInt32(portCommand))
        port.state.space.write(port.offsets.express! + Express.deviceControl2, size: 2, UInt32(Express.ariForwarding))
        hostBridge.state.isEnabledFromHost = false
        hostBridge.state.space.write(Header.command, size: 2, UInt32(Command.memorySpace | Command.busMaster | Command.systemError))
        port.enableReporting()
        for function in all { if case .physical = function.role { function.configureFromHost() } }
    }

    /// What Linux does with a physical function that a scan of the bus has found: its BARs get the addresses that the host keeps for them,
    /// errors are reported, and it is enabled.
    /// - Returns: false if the function is none such, or doesn't answer.
    public func configureFromHost(_ function: PCIFunction) -> Bool {
        guard case .physical = function.role, function.isPresent, forwardsConfiguration else { return false }
        function.configureFromHost()
        refresh()
        return true
    }

    /// Gives every BAR an address, the largest first, and the root port the windows that hold them.
    private func assignResources() throws(PCIDescriptionError) {
        var requests: [Request] = []
        for function in all {
            guard case .physical = function.role, let description = function.description else { continue }
            for bar in description.bars {
                requests.append(Request(function: function, bar: bar, slot: bar.index, alignment: bar.size, size: bar.size))
            }
            guard function.offsets.virtualization != nil else { continue }
            for bar in self.description.virtualFunction.bars {
                let aperture = function.apertureSize(bar)
                let size = aperture * UInt64(self.description.totalVFs)
                requests.append(Request(function: function, bar: bar, slot: 6 + bar.index, alignment: aperture, size: size))
            }
        }
        // A stable order: by alignment, then as listed.
        let order = requests.indices.sorted { (requests[$1].alignment, $0) < (requests[$0].alignment, $1) }
        var next = (io: Self.ioBase, memory: Self.memoryBase, prefetchable: Self.prefetchableBase)
        func place(_ request: Request, _ next: inout UInt64) {
            let address = (next + request.alignment - 1) & ~(request.alignment - 1)
            next = address + request.size
            request.function.assign(request.bar, slot: request.slot, address)
        }
        for index in order {
            switch requests[index].bar.kind {
            case .io: place(requests[index], &next.io)
            case .memory32, .memory64: place(requests[index], &next.memory)
            case .prefetchable64: place(requests[index], &next.prefetchable)
            }
        }
        guard next.io <= Self.ioEnd, next.memory <= Self.memoryEnd else {
            throw PCIDescriptionError(
                place: "hierarchy", expected: "BARs that fit into \(Self.ioEnd - Self.ioBase) bytes of I/O space and "
                    + "\(Self.memoryEnd - Self.memoryBase) bytes of 32-bit memory space",
                found: "\(next.io - Self.ioBase) and \(next.memory - Self.memoryBase) bytes")
        }
        /// From `first` to `end` in whole units, unless that is nothing.
        func window(_ first: UInt64, _ end: UInt64, unit: UInt64, otherwise closed: BridgeWindows.Window) -> BridgeWindows.Window {
            end == first ? closed : .init(first: first, last: ((end + unit - 1) & ~(unit - 1)) - 1)
        }
        let closed = BridgeWindows.closed
        BridgeWindows(
            io: window(Self.ioBase, next.io, unit: 1 << 12, otherwise: closed.io),
            memory: window(Self.memoryBase, next.memory, unit: 1 << 20, otherwise: closed.memory),
            prefetchable: window(Self.prefetchableBase, next.prefetchable, unit: 1 << 20, otherwise: closed.prefetchable)
        ).store(into: &rootPort.state.space)
    }
}

extension PCIFunction {
    fileprivate func configureFromHost() {
        for bar in bars { assign(bar, slot: bar.index, state.assigned[bar.index]) }
        if let sriov = offsets.virtualization {
            for bar in hierarchy.description.virtualFunction.bars { assign(bar, slot: 6 + bar.index, state.assigned[6 + bar.index]) }
            state.space.write(sriov + SingleRootVirtualization.control, size: 2, UInt32(SingleRootVirtualization.ariCapable))
        }
        enableReporting()
        enableFromHost()
    }

    /// Tells the function and the host where a BAR is.
    fileprivate func assign(_ bar: BARDescription, slot: Int, _ address: UInt64) {
        state.assigned[slot] = address
        let offset = slot < 6 ? Header.bar0 + 4 * slot : offsets.virtualization! + SingleRootVirtualization.vfBAR0 + 4 * (slot - 6)
        state.space.write(offset, size: 4, UInt32(truncatingIfNeeded: address))
        if bar.is64Bit { state.space.write(offset + 4, size: 4, UInt32(truncatingIfNeeded: address >> 32)) }
    }

    /// Lets errors be reported, as Linux's AER driver sets it up, and unmasks those that reset masks.
    fileprivate func enableReporting() {
        let reporting = Express.correctableReporting | Express.nonFatalReporting | Express.fatalReporting
            | Express.unsupportedRequestReporting
        state.space.setBits(offsets.express! + Express.deviceControl, reporting)
        guard let aer = offsets.advancedErrors else { return }
        state.space.write(aer + AdvancedErrorReporting.uncorrectableMask, size: 4, 0)
        state.space.write(aer + AdvancedErrorReporting.correctableMask, size: 4, 0)
        if role == .rootPort { state.space.write(aer + AdvancedErrorReporting.rootCommand, size: 4, 0x7) }
    }
}
