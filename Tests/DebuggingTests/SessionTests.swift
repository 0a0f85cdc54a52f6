import Debugging
import OffloadDevice
import Testing
import Tracing

/// A debugger's packets against a whole device.
@Suite struct SessionTests {
    @Test func attaching() throws {
        let rig = try Rig()
        #expect(rig.ask("?") == "T02thread:1;")
        #expect(rig.ask("qSupported:multiprocess+").split(separator: ";").contains("PacketSize=4000"))
        #expect(rig.ask("qfThreadInfo") == "m1,2" && rig.ask("qsThreadInfo") == "l")
        #expect(rig.ask("T2") == "OK" && rig.ask("T3") == "E.no such thread")
        #expect(rig.ask("qThreadExtraInfo,2") == hex("hart 1: off"))
        #expect(rig.ask("vMustReplyEmpty") == "")
        #expect(rig.ask("bs") == "" && rig.ask("bc") == "", "no history")
        let now = rig.machine.now
        rig.machine.advance(by: 1000)
        #expect(rig.machine.now == now, "device time stands still")
        #expect(rig.machine.readBAR(function: 0, bar: 0, offset: 0, size: 4, origin: 0).status == .ok, "the host is served")
    }

    @Test func documents() throws {
        let rig = try Rig()
        var xml = "", answer = ""
        repeat {
            answer = rig.ask("qXfer:features:read:target.xml:\(String(xml.utf8.count, radix: 16)),200")
            xml += answer.dropFirst()
        } while answer.hasPrefix("m")
        #expect(answer.first == "l" && xml.contains("org.gnu.gdb.riscv.cpu"))
        #expect(xml.contains("<reg name=\"mepc\" bitsize=\"32\" regnum=\"898\""))
        let map = rig.ask("qXfer:memory-map:read::0,4000")
        #expect(map.contains("<memory type=\"rom\" start=\"0x10000\" length=\"0x10000\"/>"))
        #expect(map.contains("<memory type=\"ram\" start=\"0x80000000\" length=\"0x400000\"/>"))
        #expect(rig.ask("qXfer:features:read:other.xml:0,10") == "E00")
        #expect(rig.ask("qXfer:features:read:target.xml:ffffffffffffffff,1") == "l")
    }

    @Test func registers() throws {
        let rig = try Rig()
        #expect(rig.register(5) == 0x8000_1000)
        #expect(rig.ask("P5=78563412") == "OK" && rig.register(5) == 0x1234_5678)
        #expect(rig.ask("P20=08000080") == "OK" && rig.pc == Rig.base + 8)
        let all = rig.ask("g")
        #expect(all.count == 33 * 8 && all.hasSuffix("08000080"))
        #expect(rig.ask("G" + all.replacing("78563412", with: "00100080")) == "OK" && rig.register(5) == 0x8000_1000)
        // mscratch; mhartid of each hart, which can't be written.
        #expect(rig.ask("P381=efbeadde") == "OK" && rig.register(0x381) == 0xdead_beef)
        #expect(rig.register(0xf55) == 0 && rig.ask("Pf55=01000000").hasPrefix("E."))
        #expect(rig.ask("Hg2") == "OK" && rig.register(0xf55) == 1)
        #expect(rig.ask("p7ff").hasPrefix("E.") && rig.ask("pffffffffffffffff").hasPrefix("E."))
    }

    @Test func memory() throws {
        let rig = try Rig()
        #expect(rig.ask("m80000000,4") == "b7120080" && rig.ask("m80000001,2") == "1200")
        #expect(rig.ask("M80002000,3:010203") == "OK" && rig.ask("m80002000,4") == "01020300")
        let binary: [UInt8] = Array("X80002000,4:".utf8) + [0x24, 0x23, 0x7d, 0x2a]
        rig.session.receive(encodePacket(binary))
        #expect(rig.received() == ["OK"] && rig.ask("m80002000,4") == "24237d2a")
        // The boot ROM can be read only; nothing is at 0x3000_0000.
        #expect(rig.ask("M10000,4:00000000").hasPrefix("E.") && rig.ask("m30000000,4") == "E01")
        #expect(rig.ask("mfffffffe,10") == "E01")
    }

    /// A read of a register that a read changes leaves it alone; a write is an access of the debugger's in the trace.
    @Test func registersOfBlocks() throws {
        let rig = try Rig()
        nonisolated(unsafe) var events: [(initiator: String, isWrite: Bool)] = []
        rig.machine.onEvent { if case .access(let event) = $0 { events.append(("\(event.initiator)", event.isWrite)) } }
        let before = rig.ask("m2000004,4")
        #expect(events.isEmpty)
        #expect(rig.ask("M2000004,4:\(before == "00000000" ? "01000000" : "00000000")") == "OK")
        #expect(rig.ask("m2000004,4") != before)
        #expect(events.map(\.initiator) == ["debugger"] && events[0].isWrite)
    }

    @Test func breakpoints() throws {
        let rig = try Rig()
        #expect(rig.ask("Z0,80000010,4") == "OK" && rig.ask("Z1,8000000c,4") == "OK")
        for _ in 0..<3 {
            #expect(rig.run("vCont;c") == "T05thread:1;hwbreak:;" && rig.pc == Rig.base + 0xc)
            let count = rig.register(6)
            #expect(rig.run("c") == "T05thread:1;swbreak:;" && rig.pc == Rig.base + 0x10)
            #expect(rig.ask("m80001000,4") == String((count ?? 0).byteSwapped, radix: 16).leftPadded(8))
        }
        #expect(rig.ask("m80000010,4") == "b7030002", "memory is not patched")
        #expect(rig.ask("z0,80000010,4") == "OK")
        #expect(rig.run("vCont;c") == "T05thread:1;hwbreak:;")
        #expect(rig.ask("z1,8000000c,4") == "OK")
        #expect(rig.run("vCont;c") == nil)
        // Ctrl-C
        rig.session.receive([3])
        rig.session.reportStop()
        #expect(rig.received() == ["T02thread:1;"])
    }

    /// Quanta end anywhere: a breakpoint is met however time is cut.
    @Test func breakpointsBetweenRuns() throws {
        let rig = try Rig()
        #expect(rig.ask("Z1,80000010,4") == "OK")
        for _ in 0..<20 {
            #expect(rig.send("c") == [])
            for _ in 0..<200 where rig.target.stop == nil { rig.machine.advance(by: 1) }
            rig.session.reportStop()
            #expect(rig.received() == ["T05thread:1;hwbreak:;"] && rig.pc == Rig.base + 0x10)
        }
    }

    @Test func stepping() throws {
        let rig = try Rig()
        #expect(rig.ask("P20=08000080") == "OK")
        for offset: UInt32 in [0xc, 0x10, 0x14, 0x18, 8] {
            // In lockstep a step moves time by itself.
            #expect(rig.run("vCont;s:1", cycles: 0) == "T05thread:1;" && rig.pc == Rig.base + offset)
        }
        #expect(rig.run("vCont;r80000008,80000018:1") == "T05thread:1;" && rig.pc == Rig.base + 0x18)
        #expect(rig.ask("Z1,80000010,4") == "OK")
        #expect(rig.run("vCont;r80000008,8000001c:1;c") == "T05thread:1;hwbreak:;" && rig.pc == Rig.base + 0x10)
        #expect(rig.run("s") == "T05thread:1;" && rig.pc == Rig.base + 0x14, "a step passes the breakpoint at its start")
    }

    @Test func watchpoints() throws {
        let rig = try Rig()
        // Memory: the instruction is the next when it stops.
        #expect(rig.ask("Z2,80001000,4") == "OK")
        for _ in 0..<3 {
            let before = rig.ask("m80001000,4")
            #expect(rig.run("c") == "T05thread:1;watch:80001000;" && rig.pc == Rig.base + 0xc)
            #expect(rig.ask("m80001000,4") == before)
            #expect(rig.run("vCont;s:1", cycles: 0) == "T05thread:1;" && rig.ask("m80001000,4") != before)
        }
        #expect(rig.ask("z2,80001000,4") == "OK")
        // A register of a block
        #expect(rig.ask("Z4,2000004,4") == "OK")
        #expect(rig.run("c") == "T05thread:1;awatch:2000004;" && rig.pc == Rig.base + 0x14)
        #expect(rig.run("c") == "T05thread:1;awatch:2000004;" && rig.pc == Rig.base + 0x14, "the next time")
        #expect(rig.ask("z4,2000004,4") == "OK")
        #expect(rig.ask("Z3,80001000,4") == "OK")
        #expect(rig.run("c") == nil, "nothing reads there")
    }

    @Test func detaching() throws {
        let rig = try Rig()
        #expect(rig.ask("Z1,80000010,4") == "OK" && rig.ask("Z2,80001000,4") == "OK")
        #expect(rig.ask("vKill;1").hasPrefix("E."))
        #expect(rig.ask("D") == "OK" && rig.session.isOver)
        rig.target.detach()
        let now = rig.machine.now
        rig.machine.advance(by: 100_000)
        #expect(rig.machine.now == now + 100_000 && rig.target.stop == nil)
        rig.target.attach {}
        #expect(rig.target.stop?.reason == .request, "and again")
    }

    @Test func monitor() throws {
        let rig = try Rig()
        func monitor(_ command: String) -> String {
            let answers = rig.send("qRcmd," + hex(command))
            #expect(answers.last == "OK")
            return answers.dropLast().map { text(String($0.dropFirst())) }.joined()
        }
        #expect(monitor("help").contains("regs NAME"))
        #expect(monitor("regs wdt.ctrl").hasPrefix("WDT.CTRL  0x"))
        #expect(monitor("regs WDT").contains("WDT.CTRL  0x"))
        #expect(monitor("regs WDT.NONE").contains("WDT.NONE"))
        #expect(monitor("time").hasPrefix("cycle \(rig.machine.now), 1 us"))
        #expect(monitor("explode").contains("unknown command 'explode'"))
        #expect(rig.pc != Rig.base)
        #expect(monitor("reset").contains("first instruction") && rig.pc == Rig.base)
    }

    private func hex(_ text: String) -> String {
        text.utf8.map { String($0, radix: 16).leftPadded(2) }.joined()
    }

    private func text(_ hex: String) -> String {
        let digits = Array(hex.utf8)
        return String(decoding: stride(from: 0, to: digits.count - 1, by: 2).map {
            UInt8(String(decoding: digits[$0...($0 + 1)], as: UTF8.self), radix: 16) ?? 0
        }, as: UTF8.self)
    }
}

extension String {
    fileprivate func leftPadded(_ width: Int) -> String { String(repeating: "0", count: max(0, width - count)) + self }
}
