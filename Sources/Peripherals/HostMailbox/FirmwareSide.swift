import RegisterMaps
import Registers
import Simulation

extension HostMailbox {
    /// MAILBOX: what the firmware reads and writes.
    public final class FirmwareSide: BusTarget, RegisterModel {
        public let registers: RegisterBlock
        /// The block's interrupt.
        public let interrupt = Wire("mailbox")
        unowned(safe) var mailbox: HostMailbox!

        init(number: Int) { registers = RegisterBlock(MAILBOX.map, number: number) }

        public func access(_ access: inout BusAccess) -> BusStatus {
            let status = registers.access(&access, model: self)
            if access.isWrite { settle() }
            return status
        }

        public func peek(_ address: UInt64, size: Int) -> UInt64? { registers.peek(address, size: size) }

        public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
            let host = mailbox.host.registers
            switch register {
            case MAILBOX.INTR_TEST: registers[MAILBOX.INTR_STATE] |= new
            case MAILBOX.FIRMWARE:
                host[HOSTIF.FIRMWARE] = new
                let state = MAILBOX.FIRMWARE.state
                if state.value(in: old) != state.value(in: new) { mailbox.tellHost(HOSTIF.INTR_STATE.firmware, at: access.time) }
            case MAILBOX.FIRMWARE_VERSION: host[HOSTIF.FIRMWARE_VERSION] = new
            case MAILBOX.HEARTBEAT:
                guard MAILBOX.HEARTBEAT.beat.isSet(in: new) else { return }
                host[HOSTIF.HEARTBEAT] = (host[HOSTIF.HEARTBEAT] &+ 1) & 0xffff_ffff
                host[HOSTIF.HEARTBEAT_AT] = access.time
            case MAILBOX.NOTIFY: notify(new, at: access.time)
            case MAILBOX.SCRATCH: host[HOSTIF.SCRATCH, element] = new
            case MAILBOX.QUEUE_ERROR:
                guard MAILBOX.QUEUE_ERROR.broken.isSet(in: new) else { return }
                mailbox.disableQueue(.broken)
                mailbox.tellHost(HOSTIF.INTR_STATE.admin_queue, at: access.time)
            case MAILBOX.EVENT_HEAD: host[HOSTIF.EVENT_HEAD] = new
            case MAILBOX.EVENT_DROPPED: host[HOSTIF.EVENT_DROPPED] = new
            case MAILBOX.FAULT:
                let valid = MAILBOX.FAULT.valid
                if valid.isSet(in: old) {
                    // Locked by the first fault: this one only counts.
                    if valid.isSet(in: access.value) { mailbox.countFault() }
                } else if valid.isSet(in: new) {
                    mailbox.completeFault(at: access.time)
                }
            default: break
            }
        }

        private func notify(_ bits: UInt64, at cycle: Cycle) {
            if MAILBOX.NOTIFY.admin_queue.isSet(in: bits) { mailbox.tellHost(HOSTIF.INTR_STATE.admin_queue, at: cycle) }
            if MAILBOX.NOTIFY.event.isSet(in: bits) { mailbox.tellHost(HOSTIF.INTR_STATE.event, at: cycle) }
            if MAILBOX.NOTIFY.doorbell.isSet(in: bits) { mailbox.tellHost(HOSTIF.INTR_STATE.doorbell, at: cycle) }
        }

        func settle() { interrupt.drive(registers.interrupt) }
    }
}
