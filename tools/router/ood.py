"""Prompts that no demo adapter is meant for: what a router should leave to the base model.

TRAIN and TEST share no template, no topic and no filler. Each is {kind: (how often a template is filled, templates)}; a
{slot} in a template is filled from the part's own lists. "near" holds the near misses: words and subjects of the adapters'
trades, but another wish. "long" holds texts of many sentences, such as exam questions: a router that has seen short
prompts only takes long ones for anything.
"""

import random
import re

TRAIN_SLOTS = {
    "topic": """photosynthesis|the French Revolution|black holes|jazz|inflation|volcanoes|vaccines|chess openings|the Silk
        Road|climate change|sourdough bread|impressionism|the water cycle|stoicism|blockchain|dinosaurs|the Roman senate|tea
        ceremonies|plate tectonics|electric cars""",
    "city": "Berlin|Toronto|Oslo|Madrid|Athens|Dublin",
    "name": "Anna|George|Priya|Omar|Elena|Kevin",
    "product": "blender|laptop|sofa|tent|razor|lamp",
    "file": "report.txt|data.csv|main.py|notes.md",
    "things": "movies|airports|students|wines|flights|apartments",
    "language": "French|German|Polish|Turkish",
    "phrase": "good night|my brother is a baker|where is the station?|we will be late|the soup is too hot",
    "pl": "Python|JavaScript|C|Rust|Ruby",
    "job": "sorts a list of numbers|reverses a string|counts the words of a text|checks for palindromes|finds duplicates",
    "a": "12|17|23|48|64|81",
    "b": "3|5|7|9|11",
    "form": "limerick|short story|song|speech|dialogue|diary entry",
    "about": "a sailor|two brothers|the rain|courage|a lost key|an old dog",
    "do": "fix a flat tire|clean a wooden floor|train a puppy|learn the piano|save money|bake a cake",
    "animal": "spider|penguin|horse|whale",
    "field": "biology|economics|physics|law|psychology|chemistry",
    "claim": """prices rise when demand outgrows supply|cells take in water by osmosis|a contract needs an offer and an
        acceptance|the period of a pendulum depends on its length|memories are rebuilt each time they are recalled""",
    "object": "notebook|ticket|melon|lantern|rope",
}

TEST_SLOTS = {
    "topic": """mitosis|the Ottoman Empire|gravity waves|opera|unemployment|glaciers|antibiotics|go strategy|the Hanseatic
        League|deforestation|kimchi|surrealism|the nitrogen cycle|existentialism|cryptography|mammoths|the Magna
        Carta|flamenco|earthquakes|wind turbines""",
    "city": "Nairobi|Bergen|Lima|Seoul|Portland",
    "name": "Mateo|Thora|Kenji|Amina|Wilma",
    "product": "drone|telescope|kettle|skateboard",
    "file": "thesis.pdf|feed.xml|engine.cpp|poster.png",
    "things": "lakes|trucks|villages|cabins|dogs",
    "language": "Italian|Spanish|Swedish|Korean",
    "phrase": "see you tomorrow|my sister works in a hospital|how much is this?|the train was full|I forgot my umbrella",
    "pl": "Go|Haskell|Java|Kotlin",
    "job": "prints the primes below 100|merges two sorted arrays|parses a date|computes a factorial",
    "a": "144|36|97|250|15",
    "b": "4|6|8|12",
    "form": "ballad|fable|monologue|riddle|legend",
    "about": "a mirror|a penguin who cannot swim|the first snow|jealousy|a bell tower",
    "do": "peel a mango|remove a wine stain|grow tomatoes|memorize a poem|repair a zipper|roast a chicken",
    "animal": "octopus|giraffe|bat|camel",
    "field": "geology|medicine|astronomy|history|linguistics|engineering",
    "claim": """sound travels faster in water than in air|glaciers carve valleys in the shape of a U|vowels shift over
        centuries|fever is a defence of the body|the mass of a star decides how it ends""",
    "object": "bicycle|postcard|pumpkin|candle|basket",
}

TRAIN = {
    "chat": (1, """Hi
Hello, how are you today?
Good morning!
Thanks, that helped a lot.
Who are you?
What can you do?
Tell me a joke.
I feel lonely today.
I had a bad day at work.
What should I cook tonight with rice and eggs?
Recommend three films for a rainy evening.
How do I fall asleep faster?
Plan a weekend trip to the mountains.
Give me a name for my cat.
What would you do with a million dollars?
Do you dream?
Can we talk about something else?
Let's play a word game.
Hi there, anybody home?
What's up?
How was your day?
Good night, sleep well.
Bye!
Thank you!
Please help me.
I don't understand.
Can you say that again?
That is wrong.
Why?
Really?
You are funny.
What is your name?
How old are you?
Where are you from?
Do you have feelings?
Do you like music?
Tell me about yourself.
Tell me a secret.
I am bored.
I am so happy today!
My boss shouted at me and I feel terrible.
I had an argument with my best friend. What should I do?
I cannot decide whether to study law or medicine.
My dog ran away this morning.
Guess what number I am thinking of.
Give me some advice for a first date.
What should I wear to a job interview?
What is a good name for a boat?
Which book should I read on holiday?
Can you recommend a restaurant for vegetarians?
Suggest a hobby for the winter.
How do I make friends in a new town?
How can I stop eating so much chocolate?
Help me write a toast for my parents' anniversary.
Let us talk about football.
Sing me a song.
42
!?
no
maybe
hmm
lol
test
aaaaaaaaaa
zxcvbnm
asdfghjkl
???
ok
..."""),
    "knowledge": (6, """What is {topic}?
Explain {topic} to a five-year-old.
Give me three interesting facts about {topic}.
Why is {topic} important?
Summarize the history of {topic} in two sentences.
I have to give a talk on {topic}. Where do I start?
Can you recommend a book about {topic}?
List the pros and cons of {topic}.
How many legs does a {animal} have?
Where does a {animal} live?
How do I {do}?"""),
    "facts": (1, """What is the capital of Australia?
Who wrote Don Quixote?
Which planet is the largest in the solar system?
When did World War II end?
What's the weather like on Mars?
Tea or coffee: which is healthier?
Is a tomato a fruit?
Who discovered penicillin?
How far away is the Sun?"""),
    "writing": (6, """Write a {form} about {about}.
Write a short poem about {topic}.
Write a birthday message for {name}.
Rewrite this politely: Send me the report now.
Correct the grammar: He go to school yesterday.
Paraphrase: The meeting was moved because of rain.
Continue the story: Once upon a time there was a fox
Write a cover letter for a job as a nurse.
Write an email to my landlord about a broken heater.
Describe {about} in one paragraph."""),
    "code": (5, """Write a {pl} function that {job}.
Why does my {pl} program crash when I divide by zero?
How do I read a file line by line in {pl}?
Explain the difference between a list and a tuple in Python.
What is a monad?
How do I center a div in CSS?
Fix this code: for i in range(10) print(i)
Implement quicksort in {pl}.
What is the time complexity of binary search?
Write a unit test for a function that adds two numbers.
def fib(n):\\n    return n if n < 2 else fib(n-1) + fib(n-2)\\nWhat does this do?
function add(a, b) { return a + b; }\\nRewrite this in {pl}.
class Dog:\\n    def bark(self):\\n        print("woof")\\nAdd a method that returns the dog's age.
x = [i * i for i in range({a})]\\nWhat is in x?
Explain recursion with an example in {pl}.
What does git commit do?
let total = 0; for (const n of numbers) total += n;
#include <stdio.h>\\nint main(void) { puts("hi"); }\\nExplain this program."""),
    "math": (6, """What is {a} * {b}?
Solve for x: {b}x + 7 = {a}.
A train travels {a} miles in {b} hours. What is its average speed?
What is the derivative of x^{b} + 2x?
If I have {a} apples and eat {b}, how many are left?
Compute the area of a circle of radius {b}.
Simplify the fraction {b}/{a}.
How many seconds are in {b} hours?"""),
    "translation": (3, """Translate "{phrase}" into {language}.
Translate to {language}: {phrase}
How do you say thank you in {language}?
What does the Latin word lux mean?"""),
    "languages": (1, """Comment t'appelles-tu ?
Quelle est la capitale de l'Italie ?
Écris un poème sur la mer.
Pourquoi les feuilles tombent-elles en automne ?
Wie wird das Wetter morgen?
Erkläre mir die Relativitätstheorie.
Schreibe eine kurze Geschichte über einen Hund.
¿Cuál es el río más largo del mundo?
Explica qué es un agujero negro.
Qual é a capital do Brasil?
Bonjour, comment allez-vous ?
Explique-moi la photosynthèse en trois phrases.
Quel temps fait-il à Paris en avril ?
Écris une lettre à mon ami pour l'inviter à dîner.
Qui a peint la Joconde ?
Combien de pays y a-t-il en Afrique ?
Guten Morgen, wie geht es dir?
Wer hat den Faust geschrieben?
Gib mir ein Rezept für Apfelkuchen.
Was ist der Unterschied zwischen Wetter und Klima?
Übersetze ins Englische: Der Zug hat Verspätung.
Erzähle mir einen Witz.
Hola, ¿cómo estás?
¿Por qué es salado el mar?
Escribe una carta de agradecimiento a mi profesora.
¿Cuántos planetas hay en el sistema solar?
Dame una receta de tortilla de patatas.
Ciao, come stai?
Qual è la montagna più alta d'Europa?
Scrivi una breve favola su una volpe.
Dimmi tre fatti sui vulcani.
Quem descobriu o Brasil?
Como faço um bolo de cenoura?
Hoe laat is het in Amsterdam?
Vad heter huvudstaden i Norge?
Napisz wiersz o jesieni.
Türkiye'nin başkenti neresidir?
Привет, как дела?
Напиши короткий рассказ о коте.
Сколько будет двенадцать умножить на семь?
Почему трава зелёная?
你好，你是谁？
请解释一下什么是人工智能。
中国最长的河流是哪条？
富士山の高さはどれくらいですか。
おすすめの本を教えてください。
안녕하세요, 오늘 기분이 어때요?
물은 왜 투명한가요?
ما هي عاصمة مصر؟
भारत की राजधानी क्या है?
Jak się masz?
今天天气怎么样？
日本の首都はどこですか。
Какая сегодня погода?"""),
    "near": (4, """What is SQL?
Who invented SQL?
Explain what a primary key is.
What is the difference between an inner join and an outer join?
Why is SQL still popular?
Is PostgreSQL better than MySQL?
What is database normalization?
How do databases store {things}?
Write a story about {things}.
Tell me about the history of {things}.
Name some famous {things}.
What does the grep command do?
Who wrote the bash shell?
Explain pipes in Unix.
What is the difference between Linux and Windows?
Is it dangerous to run commands as root?
Why are files called files?
What does the ending of {file} mean?
Write a Python script that reads {file}.
Should I back up {file}?
What is sentiment analysis?
How do I write a good product review?
Translate this review into {language}: The battery died after two days.
Should I trust online reviews?
Write a review of a {product}.
Is a {product} worth the money?
How does a {product} work?
Write an advertisement for a {product}.
Compare two kinds of {product}.
Can you help me to return a {product}?
How do journalists write headlines?
What makes a good headline?
Explain this news to a child: The parliament passed the budget.
What is a tabloid?
Who was the mayor of {city}?
What is {city} known for?
Plan two days in {city}.
Write a story that takes place in {city}.
What time is it in {city}?
Who decides about new buildings in {city}?
Why is privacy important?
What is personal data under the GDPR?
Explain what anonymization means.
How do I keep my phone number private?
Is it safe to send my address by email?
Translate into French: My name is {name} and I live in {city}.
Write a poem for {name}.
What is a good gift for {name}, who loves gardening?
{name} is taller than Sam. Sam is taller than Ben. Who is the tallest?"""),
    "long": (8, """Read the passage and answer the question.\\n\\nFor a long time {topic} was of interest to a few people only. Then schools began to teach it, newspapers wrote about it, and by the end of the century almost everyone had an opinion. Some of these opinions were based on facts, others were not.\\n\\nQuestion: What changed the way people thought about {topic}?
The following is a multiple choice question about {field}. Think step by step and then answer with "the answer is (X)", where X is the letter of the right choice.\\n\\nQuestion: Which of these statements follows from the fact that {claim}?\\nOptions:\\n(A) It holds in every case.\\n(B) It holds on average only.\\n(C) The opposite is true as well.\\n(D) None of these can be said.
A student of {field} claims that {claim}. Her teacher asks for evidence. Describe an experiment or a study that could support the claim, say what would be measured, and name two things that could go wrong. Use between 100 and 150 words.
Write a summary of 300 words or more of what is known about {topic}. Do not use any commas. Highlight at least three sections with titles in Markdown, for example *a title*. End with a question to the reader.
{name} bought {a} items of one kind at {b} dollars each. On the way home {name} lost a third of them and sold half of the rest for twice the price. A week later the shop raised the price by {b} percent. How much money did {name} make or lose in the end? Show each step of your reasoning.
In a room stand a {object}, a chair and a lamp. The chair is left of the lamp. The {object} is not next to the chair. Somebody takes the lamp away and puts a table in its place, and then moves the chair to the far end. Which of the following is true?\\n(A) The {object} is left of the table.\\n(B) The table is left of the {object}.\\n(C) The chair is in the middle.
Is the following argument valid? "Everyone who likes {topic} reads a lot. {name} reads a lot. So {name} likes {topic}."\\nOptions:\\n- valid\\n- invalid
You are an assistant that helps teachers. Prepare a lesson of 45 minutes on {topic} for a class of thirty pupils, aged about fourteen, who know nothing about it yet. Begin with a question that makes them curious, give an activity in groups, and end with a short test of five questions.
Passage: In the spring of that year the harvest was poor, and traders from the coast stopped coming. Some families left, others began to keep goats, and a few turned to {topic}, which nobody in the valley had cared for before.\\n\\nAccording to the passage, why did some people turn to {topic}?\\nA. They had always loved it.\\nB. The traders asked for it.\\nC. The harvest was poor.\\nD. The passage does not say.
Your answer must contain exactly five bullet points in Markdown, such as "* this is a point". Write all of it in capital letters and finish with the exact phrase "Is there anything else?". The subject is {topic}, and the readers are students of {field}.
Consider the following problem in {field}. Two groups measured the same quantity; the first found {a}, the second {b} with an error of ten percent. Both say that {claim}. Discuss whether the two results agree, what the likely sources of error are, and which further measurement would settle the matter.
Today is the {b}th of March. {name} has an appointment in exactly {a} days, but the office is closed on the first Monday of each month and moves everything by one day. On which date does the appointment take place? Options: (A) a day in April (B) a day in May (C) a day in June (D) it cannot be known.
Dear assistant, I am preparing a talk for my local club and would like to tell the members about {topic}. Most of them are older than sixty and have never heard much of it. Could you suggest a structure for twenty minutes, three good stories to tell, and a closing thought that people will remember on their way home?
It was late in the evening when {name} found the {object} in the attic. It was covered with dust, and under it lay a letter that nobody had opened for forty years. {name} sat down on an old box, held the letter to the light of a candle, and read the first line aloud. Who had written the letter, and why had it never been opened? Solve the mystery."""),
}

TEST = {
    "chat": (1, """Hey there
Hello! Nice to meet you.
Good evening, friend.
Great, thank you so much.
Are you a robot?
Who made you?
Do you know any riddles?
I am nervous about my exam tomorrow.
My cat died last week and I miss her.
Suggest a vegetarian dinner for two.
Which podcast should I listen to?
How can I stop biting my nails?
Help me plan a picnic for ten people.
Suggest a name for a bakery.
qwertyuiop
!!!
yes
123"""),
    "knowledge": (4, """Tell me something surprising about {topic}.
How would you describe {topic} to an alien?
What do experts disagree about when it comes to {topic}?
Draft an outline of an essay on {topic}.
Who were the key people behind {topic}?
What are common misconceptions about {topic}?
Make a quiz of four questions on {topic}.
What does a {animal} eat?
What is the best way to {do}?"""),
    "facts": (1, """What is the tallest building in the world?
Who painted Guernica?
How many bones does an adult human have?
Which ocean is the deepest?
When was the printing press invented?
Could people live on the Moon?
Is it better to rent or to buy?"""),
    "writing": (3, """Invent a {form} with {about} in it.
Compose a haiku on {topic}.
Write a wedding toast for {name}.
Make this sentence more formal: gimme a call asap.
Find the spelling mistake: She recieved a parcel.
Shorten this: In spite of the fact that it was raining, we went out.
Finish the sentence: The old lighthouse keeper opened the door and
Write a letter of complaint to an airline.
Write a resignation letter."""),
    "code": (3, """Write a {pl} program that {job}.
How do I install a library for {pl}?
int main(void) { return printf("%d\\\\n", sizeof(int)); }
Explain closures in JavaScript.
Why is my React component rendering twice?
What is a race condition?
How do I make a git branch?
Debug this: while True print('x')
What is the big O of merge sort?
Refactor this function so that it has no side effects."""),
    "math": (3, """Divide {a} by {b}.
Find the roots of x^2 - {b}x + 6.
A shop sells pens at {b} for 2 dollars. What do {a} pens cost?
Integrate cos(x) from 0 to pi/2.
Is {a} a prime number?
What is the probability of rolling two sixes?
Convert {b}/{a} into a percentage."""),
    "translation": (2, """What is "{phrase}" in {language}?
Please put this into {language}: {phrase}
What does the Latin phrase carpe diem mean?"""),
    "languages": (1, """Où se trouve la tour Eiffel ?
Raconte-moi une blague.
Donne-moi une recette de crêpes.
Was ist der Sinn des Lebens?
Nenne drei deutsche Flüsse.
Warum ist der Himmel blau?
¿Quién pintó Las Meninas?
Escribe un cuento corto sobre un dragón.
Come si prepara la carbonara?
Расскажи о космосе.
请写一首关于春天的诗。
한국의 수도는 어디입니까?"""),
    "near": (3, """What does SQL stand for?
When was the relational model invented?
What is a foreign key good for?
Explain what an index on a table does.
Should I learn SQL or Python first?
What are the disadvantages of NoSQL?
What is a transaction in a database?
Write a poem about {things}.
Why do people love {things}?
Explain {things} to a child.
What is the purpose of the sudo command?
Why is the shell called a shell?
Explain what a symbolic link is.
How does SSH keep a connection safe?
Which program opens {file}?
Write a C program that parses {file}.
How do companies use customer feedback?
How many stars should I give to an average product?
Translate this review into Spanish: The zipper broke on the first day.
Are five star reviews often fake?
Write a product description for a {product}.
Who invented the {product}?
How long does a {product} usually last?
What should I look for when I buy a {product}?
What is clickbait?
Who owns the New York Times?
Explain what a press conference is.
How many people live in {city}?
Which language is spoken in {city}?
What should I eat in {city}?
Describe a sunset in {city}.
What counts as personal information?
Why do companies collect email addresses?
Explain how encryption protects messages.
How do I remove my name from a mailing list?
Translate into German: {name} moved to {city} last year.
Give {name} some advice about studying.
{name} has twice as many marbles as Tim, who has 6. How many marbles does {name} have?"""),
    "long": (5, """Text: Scholars have argued about {topic} for generations. One group holds that it came about by chance; another group sees a plan behind it. New findings of the last years fit neither view well, which is why a conference was held on the matter.\\n\\nBased on the text, which view do the new findings support? Explain your choice in one sentence.
You are given a question from an examination in {field}. Choose the single best answer.\\n\\nIt is known that {claim}. A researcher wants to test this. Which step should come first?\\n\\nA) Collect data without a plan\\nB) Write down what is expected and why\\nC) Publish the result\\nD) Ask a friend\\n\\nGive your reasoning before the letter.
Compose an essay on {topic} with exactly four paragraphs separated by three asterisks. The word "moreover" must appear at least twice, and no paragraph may be longer than eighty words. Put the title in double angular brackets.
A farmer has {a} sheep and {b} dogs. Every dog watches over the same number of sheep, and the sheep that are left over stay in the barn. After a storm the farmer buys {b} more sheep and gives two dogs to a neighbour. How many sheep does each dog watch over now, and how many stay in the barn? Explain how you got there.
Three friends, {name}, Lou and Max, stand in a line. One of them carries a {object}, one wears a hat, and one has neither. Lou is not at either end. The one with the hat stands right of the one with the {object}. Decide who carries the {object}, or say that it cannot be decided.
Imagine that you work in a museum and write the audio guide. A visitor stands in front of a {object} that is two hundred years old. Tell its story in about one minute: who made it, who used it, how it was lost and found again, and what it has to do with {topic}.
When the bus stopped, {name} noticed that the seat in the front was empty except for a {object}. The driver shrugged. Nobody had seen who left it there. {name} picked it up, turned it over, and found an address on the back, in a hand that looked familiar. Continue the story until the owner is found."""),
}


def fill(template, slots, rng):
    """The template with each slot filled; a slot that comes twice gets the same word twice."""
    chosen = {}

    def word(match):
        slot = match.group(1)
        if slot not in chosen:
            chosen[slot] = " ".join(rng.choice(slots[slot].split("|")).split())
        return chosen[slot]

    return re.sub(r"\{(\w+)\}", lambda match: word(match) if match.group(1) in slots else match.group(), template)


def make(part):
    """[(prompt, kind)] of "train" or "test", without repeats, in a fixed order."""
    kinds, slots, seed = (TRAIN, TRAIN_SLOTS, 1) if part == "train" else (TEST, TEST_SLOTS, 2)
    rng = random.Random(seed)
    prompts = {}
    for kind, (times, templates) in kinds.items():
        for template in templates.splitlines():
            for _ in range(times if "{" in template else 1):
                prompts.setdefault(fill(template.replace("\\n", "\n"), slots, rng), kind)
    return list(prompts.items())
