extension PCIFunction {
    /// Detects an uncorrectable error: logs it and sends a message as the registers say (PCI Express Base 5.0, 6.2.5).
    ///
    /// An error that the function doesn't implement is ignored.
    /// - Parameter header: the transaction that it was found in, if it was one.
    public func report(_ error: UncorrectableError, _ header: TransactionHeader? = nil) {
        guard let express = offsets.express, error.bit & UncorrectableError.mask(isBridge ? .rootPort : .endpoint) != 0 else { return }
        hierarchy.trace?.faultMet(.aer(function: index, error: "\(error)"))
        let isUnsupported = error == .unsupportedRequest
        if isUnsupported { state.space.setBits(express + Express.deviceStatus, Express.unsupportedRequestDetected) }
        if error == .completerAbort { state.space.setBits(Header.status, Status.signaledTargetAbort) }

        let control = governor
        let fatal = control.errorRegister(AdvancedErrorReporting.uncorrectableSeverity) & error.bit != 0
        let isPosted = header?.isPosted ?? true
        if !fatal, !isPosted, isUnsupported || error == .completerAbort {
            // The requester learns of it from the completion: an advisory error (6.2.3.2.4).
            guard detect(.advisoryNonFatal) else { return }
            log(error, header, control)
            send(.correctable, bit: CorrectableError.advisoryNonFatal.rawValue, isUnsupported: isUnsupported)
        } else {
            state.space.setBits(express + Express.deviceStatus, fatal ? Express.fatalDetected : Express.nonFatalDetected)
            guard log(error, header, control) else { return }
            send(fatal ? .fatal : .nonFatal, bit: error.rawValue, isUnsupported: isUnsupported)
        }
    }

    /// Detects a correctable error.
    public func report(_ error: CorrectableError) {
        hierarchy.trace?.faultMet(.aer(function: index, error: "\(error)"))
        guard detect(error) else { return }
        send(.correctable, bit: error.rawValue, isUnsupported: false)
    }

    /// The function whose control registers apply: a virtual function's are its physical function's (9.4.2).
    private var governor: PCIFunction { isVirtual ? hierarchy.physicalFunction : self }

    private func errorRegister(_ register: Int) -> UInt32 {
        offsets.advancedErrors.map { state.space.dword($0 + register) } ?? 0
    }

    /// Records a correctable error; false if it is masked.
    private func detect(_ error: CorrectableError) -> Bool {
        guard let express = offsets.express, let aer = offsets.advancedErrors else { return false }
        state.space.setBits(express + Express.deviceStatus, Express.correctableDetected)
        state.space.setBits32(aer + AdvancedErrorReporting.correctableStatus, error.bit)
        return governor.errorRegister(AdvancedErrorReporting.correctableMask) & error.bit == 0
    }

    /// Sets the status bit and, if the log is free, logs the header and points to the error; false if the error is masked.
    @discardableResult
    private func log(_ error: UncorrectableError, _ header: TransactionHeader?, _ control: PCIFunction) -> Bool {
        typealias AER = AdvancedErrorReporting
        guard let aer = offsets.advancedErrors else { return false }
        let masked = control.errorRegister(AER.uncorrectableMask) & error.bit != 0
        // The log is taken while the error that the pointer names has not been cleared (6.2.4.2).
        let pointer = errorRegister(AER.control) & 0x1f
        let free = errorRegister(AER.uncorrectableStatus) >> pointer & 1 == 0
        state.space.setBits32(aer + AER.uncorrectableStatus, error.bit)
        guard !masked else { return false }
        if free {
            state.space.set(aer + AER.control, size: 4, errorRegister(AER.control) & ~0x1f | UInt32(error.rawValue))
            let words = header?.words ?? (0, 0, 0, 0)
            for (i, word) in [words.0, words.1, words.2, words.3].enumerated() {
                state.space.set(aer + AER.headerLog + 4 * i, size: 4, word)
            }
        }
        return true
    }

    /// Sends an error message up, if reporting is enabled (figure 6-3), and counts it.
    private func send(_ message: ErrorMessage, bit: Int, isUnsupported: Bool) {
        let control = governor
        let enables = control.offsets.express.map { control.state.space.word($0 + Express.deviceControl) } ?? 0
        let systemError = control.command & Command.systemError != 0 && message != .correctable
        let own = switch message {
        case .correctable: Express.correctableReporting
        case .nonFatal: Express.nonFatalReporting
        case .fatal: Express.fatalReporting
        }
        guard systemError || (enables & own != 0 && (!isUnsupported || enables & Express.unsupportedRequestReporting != 0)) else { return }
        switch message {
        case .correctable: state.errors.correctable[bit] &+= 1
        case .nonFatal: state.errors.nonFatal[bit] &+= 1
        case .fatal: state.errors.fatal[bit] &+= 1
        }
        if systemError { state.space.setBits(Header.status, Status.signaledSystemError) }
        hierarchy.rootPort.receive(message, from: self)
    }

    /// A root port receives an error message from below, or its own (6.2.4.1).
    private func receive(_ message: ErrorMessage, from source: PCIFunction) {
        typealias AER = AdvancedErrorReporting
        guard let aer = offsets.advancedErrors else { return }
        if source !== self {
            if message != .correctable { state.space.setBits(BridgeHeader.secondaryStatus, Status.signaledSystemError) }
            guard state.space.word(BridgeHeader.control) & BridgeControl.systemError != 0 else { return }
        }
        state.receivedMessages[message.rawValue] &+= 1
        let status = state.space.dword(aer + AER.rootStatus)
        let id = UInt32(source.address.routingID)
        let sources = state.space.dword(aer + AER.errorSource)
        switch message {
        case .correctable:
            if status & 1 == 0 { state.space.set(aer + AER.errorSource, size: 4, sources & ~0xffff | id) }
            state.space.setBits32(aer + AER.rootStatus, status & 1 == 0 ? 1 : 2)
        case .nonFatal, .fatal:
            let isFatal = message == .fatal
            if status & 4 == 0 { state.space.set(aer + AER.errorSource, size: 4, sources & 0xffff | id << 16) }
            let first: UInt32 = status & 4 != 0 ? 8 : isFatal ? 4 | 0x10 : 4
            state.space.setBits32(aer + AER.rootStatus, first | (isFatal ? 0x40 : 0x20))
        }
    }
}
