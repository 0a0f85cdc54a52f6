import Interconnect
import RegisterMaps
import Registers
import Simulation

extension VirtualIOController {
    /// VIC_HOST: what a host agent reads and writes, in the physical function's BAR0.
    public final class HostSide: BusTarget, RegisterModel {
        public let registers: RegisterBlock
        unowned(safe) var controller: VirtualIOController!

        init(number: Int) { registers = RegisterBlock(VIC_HOST.map, number: number) }

        public func access(_ access: inout BusAccess) -> BusStatus {
            let status = registers.access(&access, model: self)
            if access.isWrite { controller.settle() }
            return status
        }

        public func peek(_ address: UInt64, size: Int) -> UInt64? {
            for entry in 0..<VirtualIOController.entries { show(entry) }
            return registers.peek(address, size: size)
        }

        public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) {
            switch register {
            case VIC_HOST.COMPONENT_STATUS, VIC_HOST.COMPONENT_WAITING, VIC_HOST.COMPONENT_REQUEST: show(element)
            default: break
            }
        }

        public func willWrite(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) -> CoincidentEvents {
            if case VIC_HOST.COMPONENT_WAITING = register { show(element) }
            return .none
        }

        public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
            switch register {
            case VIC_HOST.AGENT:
                let attached = VIC_HOST.AGENT.attached
                if attached.isSet(in: new) != attached.isSet(in: old) { controller.agentChanged(isAttached: attached.isSet(in: new)) }
            case VIC_HOST.BUFFER_SIZE: controller.registers[VIC.AGENT.buffer] = VIC_HOST.BUFFER_SIZE.bytes.value(in: new)
            case VIC_HOST.INTERRUPT: controller.interruptDriver(new, at: access.time)
            case VIC_HOST.COMPONENT_WAITING where controller.agentMayChange(element, at: access.time):
                controller.registers[VIC.COMPONENT_WAITING, element] = new
            case VIC_HOST.COMPONENT_REPLY where controller.agentMayChange(element, at: access.time): controller.agentReplied(element, new)
            case VIC_HOST.KEY_HI:
                controller.state.keys[element] = new << 32 | registers[VIC_HOST.KEY_LO, element]
                registers[VIC_HOST.KEY_LO, element] = 0
                registers[VIC_HOST.KEY_HI, element] = 0
            default: break
            }
        }

        /// Brings a component's registers up to date.
        func show(_ entry: Int) {
            let other = controller.registers
            registers[VIC_HOST.COMPONENT_STATUS.state, entry] = other[VIC.COMPONENT_STATE.state, entry]
            registers[VIC_HOST.COMPONENT_STATUS.location, entry] = other[VIC.COMPONENT_STATE.location, entry]
            registers[VIC_HOST.COMPONENT_STATUS.generation, entry] = other[VIC.COMPONENT_GENERATION.count, entry]
            registers[VIC_HOST.COMPONENT_WAITING, entry] = other[VIC.COMPONENT_WAITING, entry]
            registers[VIC_HOST.COMPONENT_REQUEST, entry] = other[VIC.COMPONENT_REQUEST, entry]
        }
    }

    /// Whether the host serves a component now.
    public func isOnHost(_ entry: Int) -> Bool {
        (0..<Self.entries).contains(entry) && phase(of: entry) == .running && location(of: entry) == .host
    }

    var isAgentAttached: Bool { host.registers[VIC_HOST.AGENT.attached] != 0 }

    /// There is news of a component: the agent gets a message.
    func tellAgent(of entry: Int) {
        guard isAgentAttached else { return }
        host.registers[VIC_HOST.ATTENTION, entry / 32] |= 1 << UInt64(entry % 32)
        let vector = host.registers[VIC_HOST.AGENT.vector]
        if vector != 255 { messages?.interruptMessage(Int(vector), at: scheduler.now) }
    }

    func agentChanged(isAttached: Bool) {
        registers[VIC.AGENT.attached] = isAttached ? 1 : 0
        if !isAttached {
            cancelTransfer()
            for entry in state.keys.indices { state.keys[entry] = 0 }
        }
        post(.agent, 0, detail: isAttached ? 1 : 0)
    }

    /// Whether the agent may act for a component: its owner has no key, or the agent has handed it over.
    func agentMayChange(_ entry: Int, at cycle: Cycle) -> Bool {
        let owner = Owner(rawValue: UInt8(truncatingIfNeeded: entry))
        guard let keys, !keys.opens(owner, with: state.keys[entry]) else { return true }
        violations?.refused(.key, to: .host, holder: owner, address: 0, at: cycle)
        return false
    }

    func detachAgent() {
        guard isAgentAttached else { return }
        host.registers[VIC_HOST.AGENT.attached] = 0
        agentChanged(isAttached: false)
    }

    func agentReplied(_ entry: Int, _ reply: UInt64) {
        registers[VIC.COMPONENT_REPLY, entry] = reply
        post(.reply, entry, detail: VIC_HOST.COMPONENT_REPLY.ticket.value(in: reply))
    }

    private func forged(_ value: UInt64, holder: Owner, at cycle: Cycle) {
        violations?.refused(.interrupt, to: .host, holder: holder, address: value, at: cycle)
    }

    /// The host has used chains of a queue. Without effect if it doesn't have the component any more.
    func interruptDriver(_ value: UInt64, at cycle: Cycle) {
        let entry = Int(VIC_HOST.INTERRUPT.entry.value(in: value))
        guard (0..<Self.entries).contains(entry) else { return forged(value, holder: .device, at: cycle) }
        // An older generation is no attempt to forge: the component has been taken away from the agent in between.
        guard VIC_HOST.INTERRUPT.generation.value(in: value) == registers[VIC.COMPONENT_GENERATION.count, entry] else { return }
        guard isOnHost(entry) else { return forged(value, holder: Owner(rawValue: UInt8(entry)), at: cycle) }
        guard agentMayChange(entry, at: cycle) else { return }
        components[entry]?.device.interruptDriver(queue: Int(VIC_HOST.INTERRUPT.queue.value(in: value)))
    }
}
