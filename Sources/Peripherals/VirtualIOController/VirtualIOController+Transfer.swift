import Interconnect
import RegisterMaps
import Simulation

/// What a transfer of an image passes through.
public struct TransferPaths {
    /// The way to shared memory, at its bus addresses.
    public var local: any DMAPort
    /// The physical function's way to host memory.
    public var host: any DMAPort
    public var toHost: Link
    public var fromHost: Link

    public init(local: any DMAPort, host: any DMAPort, toHost: Link, fromHost: Link) {
        self.local = local; self.host = host; self.toHost = toHost; self.fromHost = fromHost
    }
}

/// The transfer under way, or the last one.
struct Transfer: Sendable {
    var isBusy = false
    var isFromHost = false
    var local: UInt64 = 0
    var host: UInt64 = 0
    var bytes: UInt64 = 0
    var moved: UInt64 = 0
    /// Counts the transfers, so that a piece of an earlier one finds nothing.
    var number: UInt32 = 0
}

extension Transfer: ArchivedState {
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.flag(&isBusy)
        try archive.flag(&isFromHost)
        try archive.integer(&local)
        try archive.integer(&host)
        try archive.integer(&bytes, in: 0...VirtualIOController.transferLimit)
        try archive.integer(&moved, in: 0...bytes)
        try archive.integer(&number)
    }
}

/// Moves images between shared memory and the host agent's buffer, over the same links as all DMA of the device.
extension VirtualIOController: CompletionSink {
    static let transferLimit: UInt64 = 1 << 16
    /// Bytes of one piece: each arrives, or is refused, by itself.
    private static let piece: UInt64 = 256

    /// Makes the ways known; once, before anything is transferred.
    public func connect(_ paths: TransferPaths) {
        self.paths = paths
        (toHostPort, fromHostPort) = (paths.toHost.attach(self), paths.fromHost.attach(self))
    }

    func controlTransfer(_ control: UInt64) {
        let keys = VIC.TRANSFER_CONTROL
        if keys.cancel.isSet(in: control) { return cancelTransfer() }
        guard keys.start.isSet(in: control), !state.transfer.isBusy else { return }
        let (size, offset) = (host.registers[VIC_HOST.BUFFER_SIZE.bytes], registers[VIC.TRANSFER_OFFSET])
        let base = host.registers[VIC_HOST.BUFFER_HI] << 32 | host.registers[VIC_HOST.BUFFER_LO]
        state.transfer = Transfer(
            isBusy: true, isFromHost: keys.from_host.isSet(in: control), local: registers[VIC.TRANSFER_LOCAL], host: base &+ offset,
            bytes: min(keys.bytes.value(in: control), Self.transferLimit), number: state.transfer.number &+ 1)
        guard let paths, isAgentAttached, offset <= size, state.transfer.bytes <= size - offset else { return endTransfer() }
        showTransfer()
        // All pieces at once: they follow each other without a gap, so that the whole takes its bytes over the link's bandwidth.
        for start in stride(from: 0, to: state.transfer.bytes, by: Int(Self.piece)) {
            let bytes = min(Self.piece, state.transfer.bytes - start)
            let id = UInt64(state.transfer.number) << 32 | start
            if state.transfer.isFromHost {
                paths.fromHost.submit(bytes: bytes, owner: .device, id: id, port: fromHostPort)
            } else {
                paths.toHost.submit(bytes: bytes, owner: .device, id: id, port: toHostPort)
            }
        }
        if state.transfer.bytes == 0 { endTransfer() }
    }

    /// A piece has come to the other end.
    public func completed(_ id: UInt64, at cycle: Cycle) {
        let transfer = state.transfer
        guard transfer.isBusy, UInt32(truncatingIfNeeded: id >> 32) == transfer.number, let paths else { return }
        let bytes = min(Self.piece, transfer.bytes - transfer.moved)
        var buffer = InlineArray<32, UInt64>(repeating: 0)
        let isDone = withUnsafeMutableBytes(of: &buffer) { buffer in
            let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(bytes)])
            let (source, target) = transfer.isFromHost ? (paths.host, paths.local) : (paths.local, paths.host)
            let (from, to) = transfer.isFromHost ? (transfer.host, transfer.local) : (transfer.local, transfer.host)
            return source.read(from &+ transfer.moved, into: piece) == .ok
                && target.write(to &+ transfer.moved, from: UnsafeRawBufferPointer(piece)) == .ok
        }
        guard isDone else { return endTransfer() }
        state.transfer.moved += bytes
        if state.transfer.moved == transfer.bytes { endTransfer() } else { showTransfer() }
    }

    /// Ends the transfer where it is: the pieces on their way are dropped.
    func cancelTransfer() {
        guard state.transfer.isBusy else { return }
        endTransfer()
    }

    private func endTransfer() {
        paths?.toHost.abandon(owner: .device, port: toHostPort)
        paths?.fromHost.abandon(owner: .device, port: fromHostPort)
        state.transfer.isBusy = false
        showTransfer()
        post(.transfer, 0, detail: state.transfer.moved == state.transfer.bytes ? 0 : 1)
        settle()
    }

    private func showTransfer() {
        let transfer = state.transfer
        registers[VIC.TRANSFER_STATUS.moved] = transfer.moved
        registers[VIC.TRANSFER_STATUS.busy] = transfer.isBusy ? 1 : 0
        registers[VIC.TRANSFER_STATUS.failed] = !transfer.isBusy && transfer.moved < transfer.bytes ? 1 : 0
    }
}
