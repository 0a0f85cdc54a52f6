import Hardware
import Synchronization
import Testing

/// The accessors that the firmware uses: right addresses, right bits, and no access more than written.
@Suite struct FirmwareAccessorTests {
    final class Memory: VolatileBus {
        let state = Mutex<(words: [UInt: UInt32], log: [String])>(([:], []))

        func load(_ address: UInt, size: Int) -> UInt32 {
            state.withLock {
                $0.log.append("load\(size * 8) \(String(address, radix: 16))")
                return $0.words[address] ?? 0
            }
        }
        func store(_ value: UInt32, _ address: UInt, size: Int) {
            state.withLock {
                $0.log.append("store\(size * 8) \(String(address, radix: 16)) \(String(value, radix: 16))")
                $0.words[address] = value
            }
        }
        var log: [String] {
            state.withLock { state in
                defer { state.log = [] }
                return state.log
            }
        }
        func set(_ name: String, _ value: UInt32, plus offset: UInt = 0) {
            state.withLock { $0.words[UInt(busAddress(name)) + offset] = value }
        }
    }

    let memory = Memory()
    let hw = FirmwareBus()

    func at(_ name: String, plus offset: UInt64 = 0) -> String { String(busAddress(name) + offset, radix: 16) }

    @Test func aRegisterIsOneLoadOrStore() {
        Volatile.$bus.withValue(memory) {
            hw.wdt.ctrl = WDT.CTRL(enable: true, biteEnable: false)
            #expect(memory.log == ["store32 \(at("WDT.CTRL")) 1"])
            #expect(hw.wdt.ctrl.enable)
            #expect(memory.log == ["load32 \(at("WDT.CTRL"))"])
        }
    }

    @Test func settingAFieldReadsAndWrites() {
        Volatile.$bus.withValue(memory) {
            memory.set("WDT.CTRL", 1)
            hw.wdt.ctrl.biteEnable = true
            #expect(memory.log == ["load32 \(at("WDT.CTRL"))", "store32 \(at("WDT.CTRL")) 3"])
        }
    }

    @Test func whatIsNotGivenHasItsResetValue() {
        #expect(WDT.CTRL(enable: true).rawValue == 0b11, "bite_enable resets to 1")
    }

    @Test func aRegisterThatAReadModifyWriteWouldChangeIsOnlyWrittenWhole() {
        Volatile.$bus.withValue(memory) {
            hw.wdt.write(WDT.INTR_STATE(bark: true))
            #expect(memory.log == ["store32 \(at("WDT.INTR_STATE")) 1"])
        }
    }

    @Test func arraysAndGroupsAddUp() {
        Volatile.$bus.withValue(memory) {
            hw.plic.priority[30] = .init(priority: 5)
            #expect(memory.log == ["store32 \(at("PLIC.PRIORITY[30]")) 5"])
            _ = hw.wa.owner[64].thresholdBytes
            #expect(memory.log == ["load32 \(at("WA.OWNER[64].THRESHOLD_BYTES"))"])
            _ = hw.plic.context[1].threshold
            #expect(memory.log == ["load32 \(at("PLIC.CONTEXT[1].THRESHOLD"))"])
        }
    }

    @Test func wideRegistersAreTwoAccessesLowFirst() {
        Volatile.$bus.withValue(memory) {
            memory.set("ACLINT.MTIME", 0x1234)
            memory.set("ACLINT.MTIME", 0x5678, plus: 4)
            #expect(hw.aclint.mtime.rawValue == 0x5678_0000_1234)
            #expect(memory.log == ["load32 \(at("ACLINT.MTIME"))", "load32 \(at("ACLINT.MTIME", plus: 4))"])
        }
    }
}
