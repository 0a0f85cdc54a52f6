import Interconnect
import PCIExpress
import Simulation
import Virtio

/// A function's side of a vhost-user front-end: whom it tells of interrupts, and the memory that it holds for it.
public final class FrontEndPort: VirtioTransport {
    /// Bring interrupts, and the end of the front-end's business, to it. Not the device's state, and there in nobody's replay: called under
    /// the machine's lock, they must not call the machine.
    public var onUsed: ((_ queue: Int) -> Void)?
    /// The device has failed; which queue it was.
    public var onFailure: ((_ queue: Int) -> Void)?
    /// The function is no more the front-end's: it was reset, or taken away.
    public var onLoss: (() -> Void)?
    /// There is somebody in this process who serves a front-end.
    var isConnected: Bool { onLoss != nil }
    /// By queue: where chains in flight are noted, in memory that `inflight` keeps.
    public var inflightTables: [InflightNotes?] = []
    public var inflight: GuestPages?

    /// What the function's domain maps.
    fileprivate var memory: [Piece] = []

    fileprivate struct Piece {
        var region: ExternalMemory.Region
        var pages: GuestPages
        /// What the device knows of it, while a recording runs.
        var image: GuestPages?
    }

    private unowned(unsafe) let device: VirtioDevice

    init(_ device: VirtioDevice) {
        self.device = device
    }

    public func notifyUsed(queue: Int) { onUsed?(queue) }

    public func notifyConfigurationChange() {
        if device.state.status.contains(.needsReset), let failure = device.state.lastFailure { onFailure?(failure.queue) }
    }

    public func stateChanged() {}
}

extension VirtioFunction {
    /// Applies what a front-end does. `external` is there while a recording runs, or a replay.
    func apply(_ input: FrontEndInput, _ external: ExternalMemory?, at cycle: Cycle) -> HostOutcome {
        if input == .attach { return attachFrontEnd() }
        guard device.state.hasFrontEnd else { return refused("expected a front-end, found none") }
        switch input {
        case .attach: break
        case .detach: detachFrontEnd(external)
        case .accept(let features):
            guard device.acceptFrontEnd(features) else {
                return refused("expected features of 0x\(hex(device.frontEndFeatures)), found 0x\(hex(features))")
            }
        case .map(let pieces): return map(pieces, external)
        case .start(let queue, let layout, let start):
            let table = frontEnd.inflightTables.indices.contains(queue) ? frontEnd.inflightTables[queue] : nil
            guard device.start(queue: queue, layout, from: start, notingIn: table) else {
                return refused("queue \(queue): expected a stopped queue of the device, with a size that its ring may have, up to "
                    + "\(VirtioDevice.largestFrontEndQueue), found \(layout.size) entries")
            }
        case .pause(let queue): device.pause(queue: queue)
        case .stop(let queue):
            guard let next = device.stop(queue: queue) else { return refused("queue \(queue): expected a started queue, found none") }
            return .taken(Int(next))
        case .kick(let queue): device.doorbell(queue: queue, at: cycle)
        case .writeConfiguration(let offset, let bytes):
            for (place, byte) in bytes.enumerated() { device.type.writeConfiguration(offset &+ place, size: 1, UInt64(byte)) }
        case .reset: device.reset()
        }
        return .done
    }

    private func attachFrontEnd() -> HostOutcome {
        guard function.isPresent else { return refused("expected a function that is present, found none") }
        guard !device.state.hasFrontEnd else { return refused("expected a function without a front-end, found one with") }
        // As a driver does that takes the function for a guest.
        function.enableFromHost()
        setBusMaster(true)
        device.setFrontEnd(true)
        do {
            try function.domain?.lend(to: [])
        } catch {
            return refused("\(error)")
        }
        return .done
    }

    private func detachFrontEnd(_ external: ExternalMemory?) {
        device.setFrontEnd(false)
        setBusMaster(false)
        release(external)
    }

    /// The function was reset, or taken away: a front-end has lost it.
    func frontEndLost(_ external: ExternalMemory?) {
        guard device.state.hasFrontEnd else { return }
        device.setFrontEnd(false)
        release(external)
        frontEnd.onLoss?()
    }

    private func release(_ external: ExternalMemory?) {
        function.domain?.takeBack()
        for piece in frontEnd.memory { external?.remove(piece.region) }
        frontEnd.memory = []
        frontEnd.inflightTables = []
        frontEnd.inflight = nil
    }

    private func setBusMaster(_ isOn: Bool) {
        let command = function.readConfiguration(4, size: 2)
        function.writeConfiguration(4, size: 2, isOn ? command | 1 << 2 : command & ~(1 << 2))
    }

    private func map(_ pieces: [FrontEndMemory], _ external: ExternalMemory?) -> HostOutcome {
        var memory: [FrontEndPort.Piece] = []
        do {
            for piece in pieces {
                let pages = try piece.pages ?? GuestPages(count: piece.count)
                guard UInt64(pages.bytes.count) >= piece.count else { return refused("expected \(piece.count) bytes, found fewer") }
                let image = try external.flatMap { $0.isReplaying ? nil : try GuestPages(count: piece.count) }
                memory.append(.init(region: .frontEnd(function: index, slot: piece.slot), pages: pages, image: image))
            }
            try function.domain?.lend(to: zip(pieces, memory).map {
                DMAMapping(address: $0.address, count: $0.count, memory: $1.pages.bytes.baseAddress!, origin: .frontEnd)
            })
        } catch {
            return refused("\(error)")
        }
        for piece in frontEnd.memory { external?.remove(piece.region) }
        for (piece, description) in zip(memory, pieces) {
            let bytes = UnsafeMutableRawBufferPointer(rebasing: piece.pages.bytes[..<Int(description.count)])
            external?.add(piece.region, bytes, image: piece.image?.bytes.baseAddress)
        }
        frontEnd.memory = memory
        return .done
    }

    private func refused(_ what: String) -> HostOutcome { .refused(.request("\(function.address): front-end: \(what)")) }

    private func hex(_ features: Features) -> String { String(features.rawValue, radix: 16) }
}
