import RegisterMaps
import Registers

extension LoggingEngine {
    /// LOG_HOST: what the host sees of the logs, in the physical function's BAR0.
    public final class HostWindow: BusTarget, RegisterModel {
        public let registers: RegisterBlock
        unowned(safe) var engine: LoggingEngine!

        init(number: Int) { registers = RegisterBlock(LOG_HOST.map, number: number) }

        public func access(_ access: inout BusAccess) -> BusStatus { registers.access(&access, model: self) }

        public func peek(_ address: UInt64, size: Int) -> UInt64? {
            for owner in 0..<LoggingEngine.owners { show(owner) }
            return registers.peek(address, size: size, model: self)
        }

        public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) {
            switch register {
            case LOG_HOST.BITMAP_SELECT, LOG_HOST.FLUSH: break
            default: show(element)
            }
        }

        public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
            switch register {
            case LOG_HOST.OWNER_TAIL: engine.state.logs[element].consume(to: UInt32(truncatingIfNeeded: new))
            case LOG_HOST.FLUSH: engine.flush(Int(LOG_HOST.FLUSH.owner.value(in: new)), at: access.time)
            default: break
            }
        }

        /// Brings an owner's registers up to date.
        func show(_ owner: Int) {
            let log = engine.state.logs[owner]
            let control = engine.registers[LOG.OWNER_CONTROL, owner]
            registers[LOG_HOST.OWNER_STATUS.active, owner] = log.isActive ? 1 : 0
            registers[LOG_HOST.OWNER_STATUS.open, owner] = log.open == nil ? 0 : 1
            registers[LOG_HOST.OWNER_STATUS.outside, owner] = log.bitmap.isOutside ? 1 : 0
            registers[LOG_HOST.OWNER_STATUS.granularity, owner] = LOG.OWNER_CONTROL.granularity.value(in: control)
            registers[LOG_HOST.OWNER_STATUS.page_shift, owner] = log.bitmap.pageShift
            registers[LOG_HOST.OWNER_RING_OFFSET, owner] = log.ringRecords == 0 ? 0 : log.ringBase &- engine.sharedMemory.lowerBound
            registers[LOG_HOST.OWNER_RING_SIZE, owner] = UInt64(log.ringRecords)
            registers[LOG_HOST.OWNER_HEAD, owner] = UInt64(log.head)
            registers[LOG_HOST.OWNER_TAIL, owner] = UInt64(log.tail)
            registers[LOG_HOST.OWNER_LOST, owner] = UInt64(log.lost)
            registers[LOG_HOST.OWNER_DIRTY, owner] = UInt64(log.bitmap.dirty)
            registers[LOG_HOST.OWNER_REGION_PAGES, owner] = UInt64(log.bitmap.pages)
        }

        public func access(_ access: inout BusAccess, window: WindowIndex) -> BusStatus {
            engine.takeDirty(&access, select: registers[LOG_HOST.BITMAP_SELECT])
        }

        public func peek(_ offset: UInt64, size: Int, window: WindowIndex) -> UInt64? {
            engine.peekDirty(offset, size: size, select: registers[LOG_HOST.BITMAP_SELECT])
        }
    }
}
