#!/usr/bin/env python3
"""Writes heldout/second.jsonl: prompts to judge the demo router with, that no constant was chosen on.

Those of the trades are drawn from the templates below, whose entities stand in none of the word lists and templates of tools/demo and
ood.py (asserted, so that a word added there cannot slip in here); those of no trade are written out by hand, near misses among them.
The same file comes out on every machine. Whoever tunes on it needs a third one.
"""

import random
import re
from pathlib import Path

import ood
import prompts

PER_TRADE = 40

SLOTS = {
    "town": "Whitby|Tromsø|Sibiu|Nantes|Cork|Arequipa|Hobart|Mombasa|Bergamo|Kaunas|Ulaanbaatar|Cusco",
    "person": "Benedikt|Folasade|Anneliese|Quentin|Zuleika|Thaddeus|Mireille|Oisín|Ludmila|Sanjay",
    "family": "Abernathy|Vukovic|Castellanos|Nwosu|Oyelaran|Papadakis|Thorne|Zielinski",
    "handle": "m.thorne@quickfox.example|office@birchlane.example|zuleika88@mailbag.example|quentin_v@tidewater.example|papadakis@inkwell.example",
    "digits": "0161 496 0733|(415) 555-0149|+33 1 99 00 27 41|0800 114 7726|+64 9 887 6699",
    "firm": "Brightwater|Solvane|Kestrel Foods|Ostrava Steel|Meridian Ferries|Tessellate",
    "day": "at dawn|before sunrise|in the small hours|at the weekend|after weeks of talks",
    "ware": "trampoline|sextant|birdcage|thermos|metronome|pushchair|wok|dehumidifier|ukulele|stapler",
    "doc": "ledger.ods|chapter3.tex|kernel.trace|minutes.md|thesis.bib|scan07.tiff",
    "dir": "/opt/warehouse|~/recordings|/mnt/tape|invoices2019|src/legacy|/var/spool/jobs",
    "host": "atlas.internal|gw2.office.lan|build9|10.4.0.17",
    "num": "7|15|64|120|3000",
}

TRADES = {
    "headline": """Firefighters in {town} rescued eleven people from a burning warehouse {day}.
{firm} has agreed to buy a smaller rival for two billion, both companies said {day}.
Nurses at the hospital of {town} ended their strike {day}.
An unexploded bomb from the war forced thousands in {town} to leave their homes {day}.
Archaeologists digging near {town} came upon a Roman bath {day}. It will be shown to the public in autumn.
The chief executive of {firm} stepped down {day}, citing ill health.
A ferry with ninety passengers ran aground off {town} {day}; nobody was hurt.
Ticket prices for trams in {town} are to rise by a tenth, the operator announced {day}.
{firm} is to open a factory outside {town} and hire six hundred workers.
Parents in {town} are up in arms over the closure of a kindergarten.""",
    "redact": """Could somebody in {town} give {person} a lift on Sunday?
For questions about the deposit, {handle} is the right place.
{person} {family} has been our accountant since 2003.
The number on the sticker was {digits}, but no one answered.
Yours faithfully, {person} {family}
My neighbours, the {family} family, are moving to {town}.
{person} left a message: ring {digits} after lunch.
I share a flat with {person} and {person2} near the station of {town}.
The tenant ({handle}) still owes two months' rent.
Passport found on the bus to {town}, belongs to a certain {person} {family}.""",
    "sentiment": """Cannot believe how quiet this {ware} is.
The {ware} arrived with a crack down one side.
Returned the {ware}: nothing like the photo, far too small.
Waited a month for a {ware} and then they cancelled on me.
Customer service replaced my {ware} without any fuss.
My {ware} gave up the ghost on day two.
Instructions for the {ware} might as well be in Klingon.
The {ware} was on my doorstep before breakfast the next day!
Best {ware} I have had in twenty years, solid as a rock.
Whoever designed the clasp of this {ware} has never used one.""",
    "shell": """move {doc} to {dir}
how big is {dir} altogether
give me the first {num} lines of {doc}
look for the word timeout in everything under {dir}
is {host} reachable
log in to {host} as operator
pack {dir} into one tarball
how many words are there in {doc}
fetch {doc} from {host}
take away write permission from {doc} for others
what changed between {doc} and its copy in {dir}
drop duplicate lines from {doc}
wait {num} seconds""",
    "sql": """glaciers(region, thickness, retreat)
Which region has the thickest glaciers?
operas(composer, premiere, acts)
Get me every opera with more than {num} acts.
lighthouses(coast, beam_range, keeper)
For each coast, how many lighthouses are there?
violins(maker, appraisal, wood)
Top {num} violins by appraisal
vaccines(target, doses, approved)
Get rid of vaccines with fewer than {num} doses.
warehouses(county, capacity, rent_due)
Sum up capacity by county.
beehives(apiary, honey_kg, queen_age)
Hives at apiary North yielding over {num}, please
tunnels(depth, canton, tolls)
Change tolls to {num} in the canton Uri.
marathons(runner, finish_time, nation)
Who came in fastest for each nation?
satellites(orbit, launch_mass, agency)
I only want the agencies, no repeats.""",
}

# By hand, one a line.
NO_TRADE = r"""How do bees find their way home?
What is the largest desert on Earth?
Who wrote One Hundred Years of Solitude?
Why does bread go stale?
What happens inside a star when it dies?
How long does it take light to reach Neptune?
Which countries border Austria?
What did Ada Lovelace do?
When did women first vote in New Zealand?
Is glass a liquid?
What's the difference between a crocodile and an alligator?
Who was the first person to ski to the South Pole?
How is paper recycled?
Why do onions make you cry?
Are there more trees on Earth than stars in the galaxy?
How do noise-cancelling headphones work?
What is the longest word in English?
Explain supply and demand with an example from a fish market.
In what order should I watch the Star Wars films?
Which instrument has eighty-eight keys?
Tell me about the history of tattoos.
Why is the Dead Sea so salty?
How deep is Lake Baikal?
What do sloths eat?
Give three arguments for and three against zoos.
Hiya!
Could you keep me company for a while?
You are wrong about that.
I can't sleep. Any advice?
That made me laugh.
What should I be for Halloween?
My flatmate never washes up. How do I bring it up kindly?
I got the job!!!
I feel lonely since I moved here.
If you won the lottery, what would you buy first?
Sing me something.
mhm
asdf asdf
What can you help me with?
See you later.
Give me a recipe for lentil soup.
How do I remove a splinter?
What's a good first instrument for a child?
Can I freeze cooked rice?
How do I tie a bow tie?
What should I pack for a week in Iceland?
How often should I water a cactus?
Help me choose between a cat and a hamster.
How do I stop my glasses from fogging up?
Make me a training plan for a half marathon.
A train leaves at 9:40 and arrives at 13:05. How long is the journey?
What is 17 percent of 450?
Find the area of a circle with radius 9.
Five painters need six days for a hall. How long do three need?
Simplify (x + 2)(x - 2).
What is the next number: 2, 6, 12, 20, ...?
How many diagonals does a hexagon have?
Prove that the square root of two is irrational.
I roll three dice. What are the odds of at least one six?
If today is Tuesday, what day is it in 100 days?
Write a limerick about a tired accountant.
Tell a bedtime story about a snail who wants to fly.
Write a song about the last bus home.
Give me an opening line for a detective novel.
Compose a birthday message for my grandfather who turns ninety.
Describe the taste of coffee to somebody who never had any.
Write a dialogue between the sun and the moon.
Rewrite in the passive voice: The dog chased the postman.
Correct the grammar: Me and him goes to the shop.
Give me five synonyms for 'happy'.
Say 'thank you very much' in Swahili.
Translate into French: Where is the nearest chemist?
What does 'Schadenfreude' mean?
Wie viele Bundesländer hat Deutschland?
Pourquoi la mer est-elle bleue ?
¿Cuál es el río más largo de Europa?
Quanti anni ha il Colosseo?
Hur säger man 'hej då' på engelska?
富士山の高さは何メートルですか。
Сколько планет в Солнечной системе?
Write a Haskell function that reverses a list.
What is a deadlock?
How do I centre a div?
Explain pointers in C to a Java programmer.
Why does 0.1 + 0.2 not equal 0.3?
What is the difference between TCP and UDP?
Turn this into Python: for (int i = 0; i < 5; i++) puts("hi");
What is the normal form of a database?
Is SQL a programming language?
How does a B-tree work?
Which database do banks use?
Who invented Unix?
Is Linux harder than Windows?
What is the difference between a terminal and a console?
Why do people prefer zsh?
What is a kernel?
How do newspapers earn money?
Who wrote the most famous headline of all time?
What is a press agency?
Why do news sites use so many ads?
Is it rude to leave a bad review?
How do shops get rid of fake reviews?
What do reviewers get paid?
Recommend me a good metronome.
How do I write a complaint?
What is GDPR?
How do I find a lost friend's phone number?
What is the most common surname in Korea?
Where does the name Elizabeth come from?
Should I put my address on my CV?
Passage: The lake had been frozen for six weeks when the first crack appeared. Old Marten heard it from his kitchen, put down his cup and counted to ten, as his father had taught him. Then he went out to warn the skaters.\n\nQuestion: Why did Marten count to ten? Give the most likely reason.
Two clocks show the right time at noon. One gains four minutes an hour, the other loses two. When will they be an hour apart, and what does each show then? Show every step.
Which of these would make the best conductor of heat?\n(A) cork\n(B) copper\n(C) wool\n(D) glass\nAnswer with the letter only.
Write exactly three sentences about patience. The second must be a question, and none may hold the letter z."""


def drawn(trade, rng):
    lines = TRADES[trade].splitlines()
    templates = ["\n".join(pair) for pair in zip(lines[::2], lines[1::2])] if trade == "sql" else lines
    slots = {**SLOTS, "person2": SLOTS["person"]}
    found = {}
    # In turn, so that each template comes about as often; a template with few fillings gives fewer.
    for _ in range(20):
        for template in templates:
            if len(found) < PER_TRADE:
                found[ood.fill(template, slots, rng)] = None
    return list(found)


def main():
    demo = Path(prompts.DEMO)
    sources = [demo / "words.py", demo / "data.py", Path(ood.__file__), *sorted((demo / "tasks").glob("*.py"))]
    known = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    for slot in sorted(SLOTS.keys() - {"num"}):
        shared = [word for word in SLOTS[slot].split("|") if re.search(rf"\b{re.escape(word)}\b", known)]
        assert not shared, f"{slot}: in training or another held-out set: {shared}"
    rng = random.Random(3)
    rows = [{"prompt": prompt, "right": trade} for trade in sorted(TRADES) for prompt in drawn(trade, rng)]
    rows += [{"prompt": line.replace("\\n", "\n"), "right": "base"} for line in NO_TRADE.splitlines()]
    here = prompts.HERE / "heldout"
    others = {row["prompt"] for row in prompts.train_rows(prompts.data.CHECKED)}
    others |= {row[0] for row in prompts.heldout_rows() + prompts.fresh_rows()}
    shared = others & {row["prompt"] for row in rows}
    assert not shared, f"in training or another held-out set: {shared}"
    prompts.write_jsonl(here / "second.jsonl", rows)


if __name__ == "__main__":
    main()
