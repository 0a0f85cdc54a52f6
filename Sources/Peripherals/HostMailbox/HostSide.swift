import RegisterMaps
import Registers
import Simulation

extension HostMailbox {
    /// HOSTIF: what the host reads and writes.
    public final class HostSide: BusTarget, RegisterModel {
        public let registers: RegisterBlock
        unowned(safe) var mailbox: HostMailbox!

        init(number: Int) { registers = RegisterBlock(HOSTIF.map, number: number) }

        public func access(_ access: inout BusAccess) -> BusStatus {
            let status = registers.access(&access, model: self)
            if access.isWrite { mailbox.firmware.settle() }
            return status
        }

        public func peek(_ address: UInt64, size: Int) -> UInt64? { registers.peek(address, size: size) }

        public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) {
            if case HOSTIF.TIME = register { registers[HOSTIF.TIME] = access.time }
        }

        public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
            let firmware = mailbox.firmware.registers
            switch register {
            case HOSTIF.INTR_TEST: test(new, at: access.time)
            case HOSTIF.SCRATCH: firmware[MAILBOX.SCRATCH, element] = new
            case HOSTIF.DOORBELL:
                if HOSTIF.DOORBELL.admin_queue.isSet(in: new), firmware[MAILBOX.QUEUE.enabled] != 0 {
                    firmware.raise(MAILBOX.INTR_STATE.admin_queue)
                }
                let bells = new & HOSTIF.DOORBELL.bells.mask
                if bells != 0 {
                    firmware[MAILBOX.DOORBELL] |= bells
                    firmware.raise(MAILBOX.INTR_STATE.doorbell)
                }
                registers[HOSTIF.DOORBELL] = 0
            case HOSTIF.QUEUE_CONTROL:
                if changed(HOSTIF.QUEUE_CONTROL.enable, old, new) {
                    if HOSTIF.QUEUE_CONTROL.enable.isSet(in: new) { mailbox.enableQueue() } else { mailbox.disableQueue(.none) }
                    firmware.raise(MAILBOX.INTR_STATE.configuration)
                }
            case HOSTIF.EVENT_CONTROL:
                if changed(HOSTIF.EVENT_CONTROL.enable, old, new) {
                    if HOSTIF.EVENT_CONTROL.enable.isSet(in: new) { mailbox.enableEvents() } else { mailbox.disableEvents(.none) }
                    firmware.raise(MAILBOX.INTR_STATE.configuration)
                }
            case HOSTIF.EVENT_TAIL: consumeEvents(new)
            case HOSTIF.FAULT: firmware[MAILBOX.FAULT.valid] = HOSTIF.FAULT.valid.value(in: new)
            default: break
            }
        }

        private func changed<Register: RegisterKey>(_ field: FieldKey<Register>, _ old: UInt64, _ new: UInt64) -> Bool {
            field.isSet(in: old) != field.isSet(in: new)
        }

        /// A tail that more events lie behind than the ring has counts as the head.
        private func consumeEvents(_ tail: UInt64) {
            let firmware = mailbox.firmware.registers
            let head = registers[HOSTIF.EVENT_HEAD]
            let waiting = UInt32(truncatingIfNeeded: head &- tail)
            let tail = UInt64(waiting) <= registers[HOSTIF.EVENT_SIZE.entries] ? tail : head
            registers[HOSTIF.EVENT_TAIL] = tail
            firmware[MAILBOX.EVENT_TAIL] = tail
            firmware.raise(MAILBOX.INTR_STATE.event_consumed)
        }

        private func test(_ bits: UInt64, at cycle: Cycle) {
            let causes = HOSTIF.INTR_STATE
            for cause in [causes.admin_queue, causes.event, causes.doorbell, causes.firmware, causes.fault] where cause.isSet(in: bits) {
                mailbox.tellHost(cause, at: cycle)
            }
        }
    }
}
